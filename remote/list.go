package remote

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// Limits on lists, which a registry could make endless.
const (
	maxPages      = 10_000
	maxEmptyPages = 100 // one after the other
)

// pages GETs the list at first, and the pages after it for as long as a Link
// names one, and hands each to fn, which returns how many entries it had.
func (c *client) pages(ctx context.Context, first string, header http.Header, limit int64, fn func(h http.Header, page []byte) (int, error)) error {
	seen := map[string]bool{}
	empty := 0
	for next := first; next != ""; {
		seen[next] = true
		resp, page, err := c.read(ctx, call{method: http.MethodGet, url: next, header: header, want: []int{http.StatusOK}, slow: true}, limit)
		if err != nil {
			return err
		}
		n, err := fn(resp.Header, page)
		if err != nil {
			return err
		}
		if empty++; n > 0 {
			empty = 0
		}
		if next, err = c.nextPage(resp); err != nil {
			return err
		}
		if seen[next] || next != "" && (len(seen) == maxPages || empty == maxEmptyPages) {
			return fmt.Errorf("%s: %w: the list has no end", scrubText(first), oras.ErrInvalid)
		}
	}
	return nil
}

// nextPage returns the URL that the Link of resp names, empty for none.
func (c *client) nextPage(resp *http.Response) (string, error) {
	link := wire.ParseLink(resp.Header)
	if link == "" {
		return "", nil
	}
	u, err := resp.Request.URL.Parse(link)
	if err != nil {
		return "", fmt.Errorf("%s: %w: Link to no URL", scrub(resp.Request.URL), oras.ErrInvalid)
	}
	if wire.Origin(u) != c.origin || u.User != nil {
		return "", fmt.Errorf("%s: Link to another origin, %s: %w", scrub(resp.Request.URL), scrub(&url.URL{Scheme: u.Scheme, Host: u.Host}), errRefused)
	}
	return u.String(), nil
}

// names gives fn the names that the list at first has under the given member,
// but those that check refuses.
func (c *client) names(ctx context.Context, first, member string, check func(string) error, fn func([]string) error) error {
	return c.pages(ctx, first, nil, wire.MaxListPage, func(_ http.Header, page []byte) (int, error) {
		var list struct {
			Repositories []string `json:"repositories"`
			Tags         []string `json:"tags"`
		}
		if err := oras.DecodeJSON(page, &list); err != nil {
			return 0, fmt.Errorf("list of %s: %w", member, err)
		}
		all := list.Tags
		if member == "repositories" {
			all = list.Repositories
		}
		var names []string
		for _, name := range all {
			if check(name) == nil {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			return len(all), nil
		}
		return len(all), fn(names)
	})
}
