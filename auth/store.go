package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/c73062ad/oras"
	"github.com/gofrs/flock"
)

const (
	lockLimit    = 30 * time.Second
	lockInterval = 5 * time.Millisecond
	maxLinks     = 40
)

// Put keeps cred for registry, a host[:port], in place of what was kept: with
// the helper that is configured for it, else in the first file. If no file says
// anything yet, the platform's keychain is used where its helper is installed,
// and the file says so from then on.
//
// A file is changed under a lock and replaced as a whole: other entries,
// members that are not known here and a symbolic link to it stay; its mode is
// 0600 afterwards. A name or credential that cannot be kept is
// [oras.ErrReference] or [oras.ErrInvalid].
func (c *Config) Put(ctx context.Context, registry string, cred Credential) error {
	if err := oras.CheckRegistry(registry); err != nil {
		return err
	}
	if err := checkCredential(cred); err != nil {
		return err
	}
	host := canonicalHost(registry)
	if names, err := c.writtenHelpers(host); err != nil || len(names) > 0 {
		return errors.Join(err, storeWith(ctx, names, host, cred))
	}
	return c.update(ctx, func(s *settings) (changed bool, err error) {
		names := s.helpersFor(host) // as it is under the lock
		if len(names) == 0 && len(s.auths) == 0 && len(s.helpers) == 0 && cred.AccessToken == "" {
			if name := c.detectHelper(ctx); name != "" {
				names, changed = []string{name}, true
				s.object = s.set(storeKey, encodeString(name))
			}
		}
		if len(names) > 0 {
			return changed, storeWith(ctx, names, host, cred)
		}
		s.putEntry(host, cred)
		return true, nil
	})
}

// writtenHelpers returns the helpers that the first file names for host.
func (c *Config) writtenHelpers(host string) ([]string, error) {
	s, err := configFile{path: c.Path()}.read()
	if err != nil {
		return nil, err
	}
	return s.helpersFor(host), nil
}

// storeWith keeps cred with the first helper, which alone is meant for it.
func storeWith(ctx context.Context, names []string, host string, cred Credential) error {
	if len(names) == 0 {
		return nil
	}
	return helper{names[0]}.store(ctx, helperKey(host), cred)
}

// Delete forgets registry, a host[:port]: with the helper that is configured for
// it and in the first file, whatever its spelling there. Entries for single
// repositories stay. That nothing is kept is no error, and that the helper is not
// installed a warning.
func (c *Config) Delete(ctx context.Context, registry string) error {
	if err := oras.CheckRegistry(registry); err != nil {
		return err
	}
	host := canonicalHost(registry)
	names, err := c.writtenHelpers(host)
	if err != nil {
		return err
	}
	var failed error
	if len(names) > 0 {
		failed = helper{names[0]}.erase(ctx, helperKey(host)) // and from the file all the same
	}
	if errors.Is(failed, ErrNoHelper) {
		c.warn(fmt.Sprintf("registry config %s: %v", c.Path(), failed))
		failed = nil
	}
	if _, err := os.Stat(c.Path()); errors.Is(err, fs.ErrNotExist) {
		return failed
	}
	return errors.Join(failed, c.update(ctx, func(s *settings) (bool, error) {
		before := len(s.auths)
		s.auths = slices.DeleteFunc(s.auths, func(m member) bool {
			h, path := splitKey(m.name)
			return h == host && path == ""
		})
		s.object = s.set(authsKey, s.auths.encode())
		return len(s.auths) < before, nil
	}))
}

func checkCredential(cred Credential) error {
	switch {
	case cred.Password == "" && cred.RefreshToken == "" && cred.AccessToken == "":
		return fmt.Errorf("credential without password or token: %w", oras.ErrInvalid)
	case strings.ContainsFunc(cred.Username, unicode.IsControl):
		return fmt.Errorf("user name with control characters: %w", oras.ErrInvalid)
	case strings.Contains(cred.Username, ":"):
		return fmt.Errorf("user name %q: a user name holds no colon: %w", cred.Username, oras.ErrInvalid)
	}
	return nil
}

// putEntry sets the entry of host, which is canonical, keeping what else is in it.
func (s *settings) putEntry(host string, cred Credential) {
	name := helperKey(host)
	entry, _ := parseObject(s.auths.get(name)) // what cannot be read is not worth keeping
	for _, known := range []string{"auth", "username", "password", "identitytoken", "registrytoken"} {
		entry = entry.remove(known)
	}
	if cred.Username != "" || cred.Password != "" {
		pair := cred.Username + ":" + cred.Password
		entry = entry.set("auth", encodeString(base64.StdEncoding.EncodeToString([]byte(pair))))
	}
	if cred.RefreshToken != "" {
		entry = entry.set("identitytoken", encodeString(cred.RefreshToken))
	}
	if cred.AccessToken != "" {
		entry = entry.set("registrytoken", encodeString(cred.AccessToken))
	}
	s.auths = s.auths.set(name, entry.encode())
	s.object = s.set(authsKey, s.auths.encode())
}

// update lets change work on the first file under its lock and, if it says that
// something is changed, replaces the file.
func (c *Config) update(ctx context.Context, change func(*settings) (bool, error)) error {
	if c.Path() == "" {
		return errors.New("registry config: there is no home directory to keep it in; name a file for it")
	}
	path, err := followLinks(c.Path())
	if err != nil {
		return fmt.Errorf("registry config: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("registry config: %w", err)
	}
	unlock, err := lock(ctx, path+".lock")
	if err != nil {
		return fmt.Errorf("registry config: lock %s: %w", path+".lock", err)
	}
	defer unlock()
	s, err := configFile{path: path}.read()
	if err != nil {
		return err
	}
	changed, err := change(s)
	if err != nil || !changed {
		return err
	}
	if err := replaceFile(path, indent(s.encode())); err != nil {
		return fmt.Errorf("registry config: %w", err)
	}
	return nil
}

// followLinks returns the file that path leads to, which need not exist.
func followLinks(path string) (string, error) {
	for range maxLinks {
		target, err := os.Readlink(path)
		if err != nil { // no link, or nothing there
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", fmt.Errorf("%s: more than %d symbolic links", path, maxLinks)
}

// lock takes the lock file at path, which is gone when it is released: a file
// that others wait for may be removed while they do, so what is locked must be
// what is there.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	for {
		f := flock.New(path)
		if _, err := f.TryLockContext(ctx, lockInterval); err != nil {
			f.Close()
			if ctx.Err() != nil {
				return nil, fmt.Errorf("another process holds it: %w", ctx.Err())
			}
			if isBeingRemoved(err) {
				continue
			}
			return nil, err
		}
		locked, err1 := f.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(locked, there) {
			return func() { releaseLock(f) }, nil
		}
		if err := errors.Join(err1, f.Close()); err != nil {
			return nil, err
		}
	}
}

// replaceFile writes data to a file that takes the place of path.
func replaceFile(path string, data []byte) (err error) {
	dir, prefix := filepath.Dir(path), "."+filepath.Base(path)+".oras-"
	entries, _ := os.ReadDir(dir) // what cannot be listed is not cleaned
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), prefix) { // left by a process that was killed, since the lock is ours; holds logins
			os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
	temp, err := os.CreateTemp(dir, prefix+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp.Name())
		}
	}()
	keepOwner(temp, path)
	_, err = temp.Write(data)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err = rename(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}
