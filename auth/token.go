package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/c73062ad/oras/internal/wire"
)

// A token allows scopes on the registry until it expires.
type token struct {
	value   string
	scopes  []string // canonical
	expires time.Time
}

const (
	maxRedirects    = 10
	defaultLifetime = time.Minute    // of a token that does not say; "Token Authentication Specification", Token Response Fields
	longestLifetime = 24 * time.Hour // that is believed
)

// bearer returns the Authorization header with a token for n: one that is kept,
// else a new one. The token refused is not it.
func (t *Transport) bearer(ctx context.Context, n need, challenge wire.Challenge, refused string) (string, error) {
	cred, err := t.credential(ctx, n.repository, refused != "")
	if err != nil {
		return "", err
	}
	if cred.AccessToken != "" {
		return "Bearer " + cred.AccessToken, nil
	}
	n.scopes = mergeScopes(n.scopes, strings.Fields(challenge.Parameters["scope"]))
	key := strings.Join(append([]string{n.repository}, n.scopes...), "\n")
	value := t.find(n, refused)
	// A flight that another caller began may find a token of which only this
	// one knows that it is refused.
	for range 2 {
		if value != "" && value != refused {
			break
		}
		value, err = t.tokenLogins.do(ctx, key, t.limit, func(ctx context.Context) (string, error) {
			if value := t.find(n, refused); value != "" { // an earlier flight's
				return value, nil
			}
			return t.fetch(ctx, n, challenge, cred)
		})
		if err != nil {
			return "", err
		}
	}
	return "Bearer " + value, nil
}

// find returns a token that is kept and allows what n needs, or nothing. The
// token refused is forgotten.
func (t *Transport) find(n need, refused string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	kept := slices.DeleteFunc(t.tokens[n.repository], func(k token) bool { return k.value == refused || !now.Before(k.expires) })
	put(t.tokens, n.repository, kept)
	for _, k := range kept {
		if coversScopes(k.scopes, n.scopes) {
			return k.value
		}
	}
	return ""
}

// fetch exchanges cred for a token and keeps it.
func (t *Transport) fetch(ctx context.Context, n need, challenge wire.Challenge, cred Credential) (string, error) {
	secret := cred.RefreshToken != "" || cred.Username != "" && cred.Password != ""
	realm, err := url.Parse(challenge.Parameters["realm"])
	if err != nil {
		return "", &RealmError{Registry: t.registry.Host, Realm: "(unreadable)", Reason: "it is no http or https URL"}
	}
	if err := t.checkRealm(realm, secret); err != nil {
		return "", err
	}
	asked := t.now()
	req, err := t.tokenRequest(ctx, n, realm, challenge.Parameters["service"], cred)
	if err != nil {
		return "", err
	}
	if n.userAgent != "" {
		req.Header.Set("User-Agent", n.userAgent)
	}
	answer, err := t.exchange(req, secret, cred)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := slices.DeleteFunc(t.tokens[n.repository], func(k token) bool { return coversScopes(n.scopes, k.scopes) })
	put(t.tokens, n.repository, append(kept, token{answer.value(), n.scopes, asked.Add(answer.lifetime())}))
	if cred.RefreshToken != "" && answer.RefreshToken != "" {
		put(t.rotated, cred.RefreshToken, answer.RefreshToken)
	}
	return answer.value(), nil
}

// tokenRequest returns the request for a token: GET, anonymous or with Basic, or
// POST with a refresh token.
func (t *Transport) tokenRequest(ctx context.Context, n need, realm *url.URL, service string, cred Credential) (*http.Request, error) {
	if cred.RefreshToken != "" {
		refresh, err := t.refreshToken(realm, cred)
		if err != nil {
			return nil, err
		}
		form := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {t.clientID}, "service": {service},
		}
		if len(n.scopes) > 0 {
			form.Set("scope", strings.Join(n.scopes, " "))
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return req, err
	}
	u := *realm
	u.Fragment = ""
	query := u.Query()
	if service != "" {
		query.Set("service", service)
	}
	for _, scope := range n.scopes {
		query.Add("scope", scope)
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err == nil && cred.Username != "" && cred.Password != "" {
		req.SetBasicAuth(cred.Username, cred.Password)
	}
	return req, err
}

// refreshToken returns the refresh token to show realm: the one that took the
// place of cred's, if there is one. Which realm gave cred's is not known; that
// all go to the same one is made sure of.
func (t *Transport) refreshToken(realm *url.URL, cred Credential) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	origin := wire.Origin(realm)
	if t.refreshRealm == "" {
		t.refreshRealm = origin
	}
	if t.refreshRealm != origin {
		return "", &RealmError{
			Registry: t.registry.Host, Realm: plainURL(realm),
			Reason: "it is not " + t.refreshRealm + ", which the registry named before and which alone is shown refresh tokens",
		}
	}
	if newer := t.rotated[cred.RefreshToken]; newer != "" {
		return newer, nil
	}
	return cred.RefreshToken, nil
}

// exchange sends req to a token service and returns its answer.
func (t *Transport) exchange(req *http.Request, secret bool, cred Credential) (*tokenAnswer, error) {
	where := plainURL(req.URL)
	client := http.Client{Transport: t.base, CheckRedirect: func(to *http.Request, via []*http.Request) error {
		switch {
		case len(via) >= maxRedirects:
			return fmt.Errorf("stopped after %d redirects", maxRedirects)
		case secret && wire.Origin(to.URL) != wire.Origin(via[0].URL):
			return &RealmError{
				Registry: t.registry.Host, Realm: plainURL(to.URL),
				Reason: "the token service " + where + " redirects to it, and credentials do not follow",
			}
		}
		to.Header.Del("Referer")
		return t.checkRealm(to.URL, secret)
	}}
	resp, err := client.Do(req)
	if err != nil {
		var outer *url.Error // holds the query, and says nothing else
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return nil, fmt.Errorf("token service %s: %w", where, err)
	}
	defer discard(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return nil, newResponseError(resp, cred)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxTokenBody+1))
	if err != nil {
		return nil, fmt.Errorf("token service %s: %w", where, err)
	}
	answer, err := parseToken(body)
	if err != nil {
		return nil, fmt.Errorf("token service %s: %w", where, err)
	}
	return answer, nil
}

// tokenAnswer is what a token service answers. The fields are those of both
// specifications, which name the same thing twice.
type tokenAnswer struct {
	Token        string          `json:"token"`
	AccessToken  string          `json:"access_token"`
	ExpiresIn    json.RawMessage `json:"expires_in"` // seconds; a number, to some a string
	RefreshToken string          `json:"refresh_token"`
}

// parseToken reads an answer. Its errors hold nothing of it: it is all secret.
func parseToken(body []byte) (*tokenAnswer, error) {
	if len(body) > wire.MaxTokenBody {
		return nil, fmt.Errorf("the answer is larger than %d bytes", wire.MaxTokenBody)
	}
	var answer tokenAnswer
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, errors.New("the answer is not the JSON that it should be")
	}
	if answer.value() == "" {
		return nil, errors.New("the answer holds no token")
	}
	if strings.ContainsFunc(answer.value(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the answer holds a token that cannot be one")
	}
	return &answer, nil
}

func (a *tokenAnswer) value() string {
	if a.Token != "" {
		return a.Token
	}
	return a.AccessToken
}

// lifetime returns how long to use the token: a little less than it is valid.
func (a *tokenAnswer) lifetime() time.Duration {
	seconds, err := strconv.ParseFloat(strings.Trim(string(a.ExpiresIn), `"`), 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return defaultLifetime * 9 / 10
	}
	life := time.Duration(min(seconds, longestLifetime.Seconds()) * float64(time.Second))
	return life - min(life/10, 30*time.Second)
}
