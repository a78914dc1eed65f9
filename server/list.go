package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// errStop ends a list from within.
var errStop = errors.New("enough")

// page returns the first n names that list gives, and whether there are more.
func page(n int, list func(fn func([]string) error) error) (names []string, more bool, err error) {
	names = []string{}
	err = list(func(part []string) error {
		names = append(names, part[:min(len(part), n+1-len(names))]...)
		if len(names) > n {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return names[:n], true, nil
	}
	return names, false, err
}

// n returns how many entries a page has, if the request does not say.
func (r *request) n(otherwise int) int {
	if r.N == nil {
		return otherwise
	}
	return min(*r.N, wire.MaxPage)
}

func (s *server) listTags(w http.ResponseWriter, r *request) error {
	ctx := r.http.Context()
	if r.Last != "" {
		if err := oras.CheckTag(r.Last); err != nil {
			return err
		}
	}
	tags, more, err := page(r.n(wire.MaxPage), func(fn func([]string) error) error {
		return r.store.Tags(ctx, r.Last, fn)
	})
	if err == nil && len(tags) == 0 && !more {
		err = s.checkKnown(ctx, r.Repository)
	}
	if err != nil {
		return err
	}
	if more {
		link(w, r, tags)
	}
	return replyJSON(w, struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{r.Repository, tags})
}

func (s *server) listRepositories(w http.ResponseWriter, r *request) error {
	names, more, err := page(r.n(wire.MaxPage), func(fn func([]string) error) error {
		return s.registry.Repositories(r.http.Context(), r.Last, fn)
	})
	if err != nil {
		return err
	}
	if more {
		link(w, r, names)
	}
	return replyJSON(w, struct {
		Repositories []string `json:"repositories"`
	}{names})
}

// link says where the page behind this one is.
func link(w http.ResponseWriter, r *request, names []string) {
	if len(names) == 0 { // n=0 asks for nothing
		return
	}
	next := *r.Request
	next.Last = names[len(names)-1]
	w.Header().Set("Link", wire.FormatLink(r.place(&next)))
}

func replyJSON(w http.ResponseWriter, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, "application/json", data)
}

// checkKnown reports a repository the registry does not list as
// [oras.ErrNotFound]. A store with no tags may be one of which nothing is known.
func (s *server) checkKnown(ctx context.Context, name string) error {
	known := false
	err := s.registry.Repositories(ctx, before(name), func(names []string) error {
		for _, other := range names {
			if other >= name {
				known = other == name
				return errStop
			}
		}
		return nil
	})
	switch {
	case known, err != nil && !errors.Is(err, errStop): // a registry without a list may have it
		return nil
	}
	return oras.ErrNotFound
}

// before returns a name of a repository that is shortly before name, or nothing.
func before(name string) string {
	for name != "" {
		name = name[:len(name)-1]
		if oras.CheckRepository(name) == nil {
			break
		}
	}
	return name
}
