package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"sync"

	"github.com/spf13/pflag"

	"github.com/c73062ad/oras/server"
)

// tlsFlags say with which certificates the registry is served.
type tlsFlags struct {
	cert, key, clientCA string
}

func (f *tlsFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.cert, "tls-cert", "", "`file` with the server's certificate, in PEM form, and those of the authorities between; it is read again when it changes")
	fs.StringVar(&f.key, "tls-key", "", "`file` with the certificate's key, in PEM form")
	fs.StringVar(&f.clientCA, "tls-client-ca", "", "`file` with authorities, in PEM form, one of which must have signed the certificate that each client then has to show")
}

// open returns the certificates, or nil for plain HTTP.
func (f *tlsFlags) open(logger *slog.Logger) (*certificates, error) {
	if f.cert == "" {
		return nil, nil
	}
	c := &certificates{files: *f, log: logger}
	c.seen = c.look()
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// certificates are those of a server. Their files are looked at again with each new
// connection: when one has changed they are read, and if they are good they count
// from then on. Connections there are keep what they have. As long as they are not
// good, as between the writing of the one and of the other, the old ones count.
type certificates struct {
	files tlsFlags
	log   *slog.Logger

	mu     sync.Mutex
	seen   [3]fs.FileInfo // what was last read, or tried to
	config *tls.Config    // never changed, only replaced
	leaf   *x509.Certificate
}

// server returns the configuration of a server that asks for the certificates.
func (c *certificates) server() *tls.Config {
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		config, _ := c.current()
		return config, nil
	}}
}

// current returns what counts now.
func (c *certificates) current() (*tls.Config, *x509.Certificate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.look()
	if same(now, c.seen) {
		return c.config, c.leaf
	}
	c.seen = now
	if err := c.load(); err != nil {
		c.log.Error("the old TLS certificate goes on, since the new one is no good", "error", err)
	} else {
		c.log.Info("TLS certificate read", "file", c.files.cert, "expires", c.leaf.NotAfter)
	}
	return c.config, c.leaf
}

// look returns what the files are now; nil for one that is not there.
func (c *certificates) look() (infos [3]fs.FileInfo) {
	for i, path := range []string{c.files.cert, c.files.key, c.files.clientCA} {
		if info, err := os.Stat(path); err == nil {
			infos[i] = info
		}
	}
	return infos
}

func same(a, b [3]fs.FileInfo) bool {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) || a[i] != nil &&
			(!os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime())) {
			return false
		}
	}
	return true
}

const maxPEM = 1 << 20 // bytes of a file with certificates

// load reads the files.
func (c *certificates) load() error {
	failed := func(err error) error {
		return hint(fmt.Errorf("TLS certificate %s with key %s: %w", c.files.cert, c.files.key, err),
			"Both files must be in PEM form, and --tls-key that of --tls-cert")
	}
	cert, err := readFile(c.files.cert, maxPEM)
	if err != nil {
		return failed(err)
	}
	key, err := readFile(c.files.key, maxPEM)
	if err != nil {
		return failed(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return failed(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if c.files.clientCA != "" {
		pem, err := readFile(c.files.clientCA, maxPEM)
		if err != nil {
			return hint(err, "Name a file of certificates, in PEM form, with --tls-client-ca")
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return hint(fmt.Errorf("%s: there is no certificate in it", c.files.clientCA), "Name a file of certificates, in PEM form, with --tls-client-ca")
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.SessionTicketsDisabled = true // a session would outlive an authority that is taken away
	}
	if pair.Leaf == nil {
		return failed(errors.New("there is no certificate"))
	}
	c.config, c.leaf = config, pair.Leaf
	return nil
}

// host returns a name that the certificate is good for: localhost if it is.
func (c *certificates) host() string {
	_, leaf := c.current()
	if leaf.VerifyHostname("localhost") == nil {
		return "localhost"
	}
	for _, name := range leaf.DNSNames {
		if leaf.VerifyHostname(name) == nil {
			return name
		}
	}
	return "localhost"
}

// metrics are those of TLS, if there is any.
func (c *certificates) metrics() []server.Metric {
	return []server.Metric{{
		Name: "oras_tls_certificate_expiry_timestamp_seconds", Help: "When the TLS certificate expires, in seconds since 1970.",
		Value: func() float64 {
			if c == nil {
				return math.NaN()
			}
			_, leaf := c.current()
			return float64(leaf.NotAfter.Unix())
		},
	}}
}
