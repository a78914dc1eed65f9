package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Config is a [Source] over the files in which docker and podman keep logins:
// docker's config.json and podman's auth.json, which differ in name only
// (containers-auth.json(5)).
//
//	{
//	  "auths": {
//	    "registry.example":           {"auth": "base64 of user:password"},
//	    "registry.example/team/tool": {"auth": "…"},             only for repositories from there down
//	    "http://localhost:7000/":     {"identitytoken": "…"}     older spelling of localhost:7000
//	  },
//	  "credHelpers": {"other.example": "pass"},                  asks docker-credential-pass
//	  "credsStore": "secretservice"                              for all others
//	}
//
// The files are asked in order, and each of them: for the entry with the longest
// path that the repository is below, the registry's helper, the store, the
// registry's entry. Files are read when asked, so that what other programs store
// is seen. A helper that is not installed is a warning; one that fails is an
// error, since what would answer in its place is not what the user wants used.
//
// A Config is safe for concurrent use.
type Config struct {
	// Warn, if not nil, is told what is wrong and not fatal, each thing
	// once. It is to be set before the first use.
	Warn func(message string)

	files  []configFile
	warned sync.Map
}

// A configFile is one of the files. What is wrong with one that nobody asked
// for is a warning.
type configFile struct {
	path    string
	unasked bool
}

const (
	maxConfig   = 4 << 20 // bytes of a file
	dockerHub   = "https://index.docker.io/v1/"
	authsKey    = "auths"
	helpersKey  = "credHelpers"
	storeKey    = "credsStore"
	tokenHolder = "<token>" // user name under which helpers keep refresh tokens
)

// OpenConfig returns the Config of the files at paths. They need not exist; the
// first is the one that is written. With no paths, empty ones aside, they are
// those that docker and podman use: $REGISTRY_AUTH_FILE if it is set, then config.json in
// $DOCKER_CONFIG or ~/.docker, then podman's own auth.json, which is never
// written. A file that cannot be read or holds no JSON is an error.
func OpenConfig(paths ...string) (*Config, error) {
	c := &Config{}
	paths = slices.DeleteFunc(slices.Clone(paths), func(path string) bool { return path == "" })
	for _, path := range paths {
		c.files = append(c.files, configFile{path: path})
	}
	if len(paths) == 0 {
		c.files = defaultFiles()
	}
	for _, f := range c.files {
		if _, err := f.read(); err != nil && !f.unasked {
			return nil, err
		}
	}
	return c, nil
}

func defaultFiles() (files []configFile) {
	home, homeErr := os.UserHomeDir()
	if path := os.Getenv("REGISTRY_AUTH_FILE"); path != "" {
		files = append(files, configFile{path: path})
	}
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		files = append(files, configFile{path: filepath.Join(dir, "config.json")})
	} else if homeErr == nil {
		files = append(files, configFile{path: filepath.Join(home, ".docker", "config.json")})
	}
	podman := func(elements ...string) {
		files = append(files, configFile{path: filepath.Join(append(elements, "containers", "auth.json")...), unasked: true})
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		podman(dir)
	} else if runtime.GOOS == "linux" {
		podman("/run", "containers", strconv.Itoa(os.Getuid()))
	}
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		podman(dir)
	} else if homeErr == nil {
		podman(home, ".config")
	}
	return files
}

// Path returns the file that is written, as it was given; empty if there is
// none, as without a home directory.
func (c *Config) Path() string {
	if len(c.files) == 0 || c.files[0].unasked {
		return ""
	}
	return c.files[0].path
}

// Credential implements [Source].
func (c *Config) Credential(ctx context.Context, registry, repository string) (Credential, error) {
	for _, f := range c.files {
		all, err := f.read()
		if err != nil && f.unasked {
			c.warn(err.Error())
			continue
		}
		if err != nil {
			return Credential{}, err
		}
		cred, err := c.lookUp(ctx, f, all, canonicalHost(registry), repository)
		if err != nil || !cred.IsZero() {
			return cred, err
		}
	}
	return Credential{}, nil
}

func (c *Config) warn(message string) {
	if _, again := c.warned.LoadOrStore(message, true); !again && c.Warn != nil {
		c.Warn(message)
	}
}

// settings are what is in a file.
type settings struct {
	object                // the whole file
	auths, helpers object // members of it
}

// read returns what is in the file, nothing if it does not exist.
func (f configFile) read() (*settings, error) {
	data, err := readLimited(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("registry config: %w", err)
	}
	var s settings
	for _, part := range []struct {
		into *object
		from func() []byte
	}{
		{&s.object, func() []byte { return data }},
		{&s.auths, func() []byte { return s.get(authsKey) }},
		{&s.helpers, func() []byte { return s.get(helpersKey) }},
	} {
		if *part.into, err = parseObject(part.from()); err != nil {
			return nil, fmt.Errorf("registry config %s: %w: mend or remove the file", f.path, err)
		}
	}
	return &s, nil
}

func readLimited(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxConfig+1))
	if err == nil && len(data) > maxConfig {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxConfig)
	}
	return data, err
}

// lookUp returns what one file knows for host, which is canonical.
func (c *Config) lookUp(ctx context.Context, f configFile, all *settings, host, repository string) (Credential, error) {
	for path := repository; path != ""; path = parent(path) {
		for _, m := range all.auths {
			if h, p := splitKey(m.name); h == host && p == path {
				if cred, err := f.entry(m); err != nil || !cred.IsZero() {
					return cred, err
				}
			}
		}
	}
	for _, name := range all.helpersFor(host) {
		cred, err := helper{name}.get(ctx, helperKey(host))
		switch {
		case errors.Is(err, ErrNoHelper):
			c.warn(fmt.Sprintf("registry config %s: %v", f.path, err))
		case err != nil || !cred.IsZero():
			return cred, err
		}
	}
	for _, m := range all.entriesFor(host) {
		if cred, err := f.entry(m); err != nil || !cred.IsZero() {
			return cred, err
		}
	}
	return Credential{}, nil
}

// helpersFor returns the names of the helpers to ask for host.
func (s *settings) helpersFor(host string) (names []string) {
	for _, m := range s.helpers {
		if h, path := splitKey(m.name); h == host && path == "" {
			names = append(names, decodeString(m.value))
		}
	}
	names = append(names, decodeString(s.get(storeKey)))
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// entriesFor returns the entries for host as a whole: first the one that is
// written here, then those under the host's name, then those in older spellings.
func (s *settings) entriesFor(host string) []member {
	var ranks [3][]member
	for _, m := range s.auths {
		switch h, path := splitKey(m.name); {
		case h != host || path != "":
		case m.name == helperKey(host):
			ranks[0] = append(ranks[0], m)
		case canonicalHost(m.name) == host:
			ranks[1] = append(ranks[1], m)
		default:
			ranks[2] = append(ranks[2], m)
		}
	}
	return slices.Concat(ranks[:]...)
}

// splitKey returns the host that the name of an entry means, canonical, and the
// path if it is for repositories below one. A name with a scheme is docker's
// older spelling, whose path is that of an API.
func splitKey(key string) (host, path string) {
	host, older := key, false
	for _, scheme := range []string{"http://", "https://"} {
		if rest, ok := strings.CutPrefix(key, scheme); ok {
			host, older = rest, true
		}
	}
	host, path, _ = strings.Cut(host, "/")
	if older || path == "v1/" || path == "v2/" {
		path = ""
	}
	return canonicalHost(host), strings.TrimSuffix(path, "/")
}

func parent(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

// helperKey returns the name under which helpers keep host.
func helperKey(host string) string {
	if host == "docker.io" {
		return dockerHub
	}
	return host
}

// entry reads an entry of auths. Its errors hold nothing of it.
func (f configFile) entry(m member) (Credential, error) {
	o, err := parseObject(m.value)
	if err != nil {
		return Credential{}, fmt.Errorf("registry config %s: entry %q: %w: log in again or remove it", f.path, m.name, err)
	}
	cred := Credential{
		Username:     decodeString(o.get("username")),
		Password:     decodeString(o.get("password")),
		RefreshToken: decodeString(o.get("identitytoken")),
		AccessToken:  decodeString(o.get("registrytoken")),
	}
	if text := decodeString(o.get("auth")); text != "" {
		decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		user, password, ok := strings.Cut(string(decoded), ":")
		if err != nil || !ok {
			return Credential{}, fmt.Errorf("registry config %s: entry %q: its \"auth\" is not base64 of user:password: log in again or remove it", f.path, m.name)
		}
		cred.Username, cred.Password = user, strings.TrimRight(password, "\x00")
	}
	if cred.Password == "" && cred.RefreshToken == "" && cred.AccessToken == "" {
		return Credential{}, nil
	}
	return cred, nil
}
