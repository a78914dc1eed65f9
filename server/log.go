package server

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/c73062ad/oras/internal/wire"
)

const maxLogged = 256 // bytes of a text that a client chose, but for names and tags

// log writes the record of e; see [Observe].
func (o *observer) log(ctx context.Context, e *exchange) {
	audit := e.audit()
	if o.AuditOnly && !audit {
		return
	}
	message, level := "access", slog.LevelInfo
	if audit {
		message = "audit"
	}
	result := e.result()
	if result == "failed" {
		level = slog.LevelError
	}
	var attrs []slog.Attr
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	text("request", e.id)
	if e.client.IsValid() {
		text("client", e.client.String())
	}
	text("user", e.user)
	text("login", e.wrong)
	text("method", cut(e.method))
	text("action", string(e.action))
	attrs = append(attrs, e.subject()...)
	if e.status != 0 {
		attrs = append(attrs, slog.Int("status", e.status))
	}
	text("result", result)
	attrs = append(attrs, slog.Int64("in", e.in.Load()), slog.Int64("out", e.out),
		slog.Float64("ms", float64(e.took.Microseconds())/1000))
	text("agent", cut(e.agent))
	o.Log.LogAttrs(ctx, level, message, attrs...)
}

// subject returns what e was about.
func (e *exchange) subject() (attrs []slog.Attr) {
	if e.about.Route == wire.Unknown {
		return []slog.Attr{slog.String("path", cut(e.path))}
	}
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, cut(value)))
		}
	}
	text("repository", e.about.Repository)
	text("tag", e.about.Tag)
	if tags := e.about.Tags; len(tags) > 0 {
		attrs = append(attrs, slog.String("tags", strings.Join(tags[:min(len(tags), maxTags)], ",")))
	}
	text("digest", firstText(e.about.Digest.String(), e.about.Mount.String(), e.digest))
	text("from", e.about.From)
	text("upload", e.about.UploadID)
	return attrs
}

func firstText(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// audit reports whether e is one that must be known of later: who changed something,
// or tried to get in.
func (e *exchange) audit() bool {
	switch e.action {
	case ActionPush, ActionDelete:
		return e.status != http.StatusUnauthorized || e.authorization
	}
	return e.loginFailed || e.status == http.StatusForbidden || e.status == http.StatusUnauthorized && e.authorization
}

// result says in a word what became of e.
func (e *exchange) result() string {
	switch {
	case e.broken:
		return "broken"
	case e.status == http.StatusUnauthorized && !e.authorization:
		return "challenge"
	case e.status == http.StatusUnauthorized, e.status == http.StatusForbidden:
		return "denied"
	case e.status == http.StatusTooManyRequests:
		return "limited"
	case e.status >= 500:
		return "failed"
	case e.status >= 400:
		return "refused"
	}
	return "ok"
}

// cut returns text as far as it is worth a log.
func cut(text string) string {
	if len(text) > maxLogged {
		return text[:maxLogged] + "..."
	}
	return text
}

// LogHandler returns a handler for [Options].ErrorLog that adds to each record the
// attribute request: the id that the request has in the log of [Observe].
func LogHandler(h slog.Handler) slog.Handler { return &logHandler{h} }

type logHandler struct{ slog.Handler }

func (h *logHandler) Handle(ctx context.Context, record slog.Record) error {
	if e := exchangeOf(ctx); e != nil {
		record = record.Clone()
		record.AddAttrs(slog.String("request", e.id))
	}
	return h.Handler.Handle(ctx, record)
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.Handler.WithAttrs(attrs)}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.Handler.WithGroup(name)}
}
