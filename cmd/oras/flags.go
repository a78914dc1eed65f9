package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/c73062ad/oras"
)

// A flag group is a struct with a method register. Commands have those they need
// as fields.

// badValue returns err, of a flag's value, without the names of functions and packages
// that parse numbers and times.
func badValue(err error) error {
	var flag *pflag.InvalidValueError
	var number *strconv.NumError
	if !errors.As(err, &flag) {
		return err
	}
	if text := flag.Unwrap().Error(); strings.HasPrefix(text, "time: ") {
		return errors.New(strings.Replace(err.Error(), text, "not a time, such as 90s, 5m or 24h", 1))
	}
	if !errors.As(err, &number) {
		return err
	}
	reason := "not a whole number"
	switch {
	case number.Func == "ParseBool":
		reason = "neither true nor false"
	case errors.Is(number, strconv.ErrRange):
		reason = "out of range"
	}
	return errors.New(strings.Replace(err.Error(), number.Error(), reason, 1))
}

// commonFlags are on all commands that do something.
type commonFlags struct {
	debug   bool
	verbose bool // deprecated: false hides the status of content without a name
}

func (f *commonFlags) register(fs *pflag.FlagSet) {
	fs.BoolVarP(&f.debug, "debug", "d", false, "output debug logs (implies --no-tty)")
	f.registerVerbose(fs)
}

func (f *commonFlags) registerVerbose(fs *pflag.FlagSet) {
	fs.BoolVarP(&f.verbose, "verbose", "v", true, "show the status of content without a name")
	fs.Lookup("verbose").Hidden = true
}

// noteDeprecated says of flags that were used and have had their time that they
// will go. (pflag would say so between a command's results.)
func noteDeprecated(cmd *cobra.Command) {
	if cmd.Flags().Changed("verbose") {
		fmt.Fprintln(cmd.ErrOrStderr(), "Flag --verbose has been deprecated, and will be removed in a future release.")
	}
}

// ttyFlags are on commands that show progress or colours; what they say is for the
// terminal.
type ttyFlags struct{}

func (*ttyFlags) register(fs *pflag.FlagSet, what string) {
	fs.Bool("no-tty", false, "[Preview] disable "+what)
}

// remoteFlags say how a registry is reached and with which login.
type remoteFlags struct {
	prefix string // of the flags' names: "", "from-" or "to-"

	username, password, identityToken string
	passwordStdin, identityTokenStdin bool
	plainHTTP                         bool
	plainHTTPSet                      func() bool
	fromEnvironment                   func(flag string) bool // it was not on the command line
	insecure                          bool
	caFile, certFile, keyFile         string
	config                            string
	resolve, baseResolve              []string
	headers                           []string
	distributionSpec                  distributionSpec
}

// register registers the flags. With a prefix they are those of one side of a
// copy, which have no shorthands and no way to read standard input.
func (f *remoteFlags) register(fs *pflag.FlagSet, prefix, side string) {
	f.prefix = prefix
	name := func(s string) string { return prefix + s }
	short := func(s string) string {
		if prefix != "" {
			return ""
		}
		return s
	}
	if side != "" {
		side += " "
	}
	fs.StringVarP(&f.username, name("username"), short("u"), "", side+"registry username")
	fs.StringVarP(&f.password, name("password"), short("p"), "", side+"registry password or identity token")
	fs.StringVar(&f.identityToken, name("identity-token"), "", side+"registry identity token")
	if prefix == "" {
		fs.BoolVar(&f.passwordStdin, "password-stdin", false, "read password from stdin")
		fs.BoolVar(&f.identityTokenStdin, "identity-token-stdin", false, "read identity token from stdin")
	}
	fs.BoolVar(&f.plainHTTP, name("plain-http"), false, "allow insecure connections to "+side+"registry without SSL check")
	f.plainHTTPSet = func() bool { return fs.Changed(name("plain-http")) }
	f.fromEnvironment = func(flag string) bool { return fromEnvironment(fs.Lookup(name(flag))) }
	fs.BoolVar(&f.insecure, name("insecure"), false, "allow connections to "+side+"SSL registry without certs")
	remote := "remote " + side + "registry"
	fs.StringVar(&f.caFile, name("ca-file"), "", "server certificate authority file for the "+remote)
	fs.StringVar(&f.certFile, name("cert-file"), "", "client certificate file for the "+remote)
	fs.StringVar(&f.keyFile, name("key-file"), "", "client private key file for the "+remote)
	fs.StringVar(&f.config, name("registry-config"), "", "`path` of the authentication file for "+side+"registry")
	fs.StringArrayVar(&f.resolve, name("resolve"), nil, "customized DNS for "+side+"registry, formatted in `host:port:address[:address_port]`")
	requests := "requests"
	if side != "" {
		requests = side + requests
	}
	fs.StringArrayVarP(&f.headers, name("header"), short("H"), nil, "add custom headers to "+requests)
}

func (f *remoteFlags) registerDistributionSpec(fs *pflag.FlagSet, side string) {
	fs.Var(&f.distributionSpec, f.prefix+"distribution-spec", "[Preview] set OCI distribution spec version and API option for "+side+"target. Options: v1.1-referrers-tag, v1.1-referrers-api")
}

// check checks the flags together, before anything is done.
func (f *remoteFlags) check() error {
	switch {
	case f.username != "" && f.identityToken != "":
		return exclusive(f.prefix+"username", f.prefix+"identity-token")
	case f.password != "" && f.identityToken != "":
		return exclusive(f.prefix+"password", f.prefix+"identity-token")
	case f.passwordStdin && f.identityTokenStdin:
		return exclusive("password-stdin", "identity-token-stdin")
	case f.password != "" && f.passwordStdin:
		return exclusive("password", "password-stdin")
	case f.identityToken != "" && f.identityTokenStdin:
		return exclusive("identity-token", "identity-token-stdin")
	case f.certFile != "" && f.keyFile == "":
		return fmt.Errorf("--%scert-file must be used in conjunction with --%skey-file", f.prefix, f.prefix)
	case f.certFile == "" && f.keyFile != "":
		return fmt.Errorf("--%skey-file must be used in conjunction with --%scert-file", f.prefix, f.prefix)
	}
	for _, h := range f.headers {
		if name, _, ok := strings.Cut(h, ":"); !ok || strings.TrimSpace(name) == "" {
			return hint(fmt.Errorf("invalid header: %q", h), `Please use the format --%sheader "name:value"`, f.prefix)
		}
	}
	_, err := f.dialAddresses()
	return err
}

// readStdin reads what the flags say comes from standard input, and warns of
// secrets that others can see and that could come from there instead.
func (f *remoteFlags) readStdin(con console) error {
	if f.password != "" && f.prefix == "" && !f.fromEnvironment("password") {
		fmt.Fprintln(con.err, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
	}
	if f.identityToken != "" && f.prefix == "" && !f.fromEnvironment("identity-token") {
		fmt.Fprintln(con.err, "WARNING! Using --identity-token via the CLI is insecure. Use --identity-token-stdin.")
	}
	if !f.passwordStdin && !f.identityTokenStdin {
		return nil
	}
	const limit = 64 << 10
	data, err := io.ReadAll(io.LimitReader(con.in, limit+1))
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if len(data) > limit {
		return errors.New("standard input holds more than a password or a token can be")
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if f.passwordStdin {
		f.password = secret
	} else {
		f.identityToken = secret
	}
	return nil
}

// dialAddresses parses --resolve: host:port to the address that is dialed instead.
// What a side of a copy says goes over what is said for both.
func (f *remoteFlags) dialAddresses() (map[string]string, error) {
	addresses := map[string]string{}
	for _, s := range append(append([]string(nil), f.baseResolve...), f.resolve...) {
		parts := strings.SplitN(s, ":", 4)
		bad := fmt.Errorf("failed to parse resolve flag %q: expecting host:port:address[:address_port]", s)
		if len(parts) < 3 {
			return nil, bad
		}
		host, port, address, addressPort := parts[0], parts[1], parts[2], parts[1]
		if rest := strings.Join(parts[2:], ":"); strings.HasPrefix(rest, "[") { // IPv6
			var ok bool
			if address, rest, ok = strings.Cut(rest[1:], "]"); !ok {
				return nil, bad
			}
			if rest != "" {
				addressPort = strings.TrimPrefix(rest, ":")
			}
		} else if len(parts) == 4 {
			addressPort = parts[3]
		}
		if net.ParseIP(address) == nil {
			return nil, fmt.Errorf("failed to parse resolve flag %q: invalid IP address", s)
		}
		for _, p := range []string{port, addressPort} {
			if _, err := net.LookupPort("tcp", p); err != nil || strings.Trim(p, "0123456789") != "" {
				return nil, fmt.Errorf("failed to parse resolve flag %q: invalid port %q", s, p)
			}
		}
		addresses[net.JoinHostPort(host, port)] = net.JoinHostPort(address, addressPort)
	}
	return addresses, nil
}

func exclusive(a, b string) error {
	return fmt.Errorf("--%s, --%s cannot be used at the same time", a, b)
}

// A distributionSpec is the value of --distribution-spec: how referrers are kept.
type distributionSpec string

const (
	referrersUnknown distributionSpec = ""
	referrersAPI     distributionSpec = "v1.1-referrers-api"
	referrersTag     distributionSpec = "v1.1-referrers-tag"
)

func (d *distributionSpec) Set(s string) error {
	if s != string(referrersAPI) && s != string(referrersTag) {
		return fmt.Errorf("unknown distribution specification flag: %s\nAvailable options: %s, %s", s, referrersTag, referrersAPI)
	}
	*d = distributionSpec(s)
	return nil
}

func (d *distributionSpec) Type() string { return "string" }

func (d *distributionSpec) String() string {
	if *d == referrersUnknown {
		return "unknown"
	}
	return string(*d)
}

// platformFlag is --platform, or --artifact-platform.
type platformFlag struct {
	name     string
	text     string
	platform *oras.Platform
}

func (f *platformFlag) register(fs *pflag.FlagSet, name, usage string) {
	f.name = name
	fs.StringVar(&f.text, name, "", usage+" in the form of `os[/arch][/variant][:os_version]`")
}

func (f *platformFlag) parse() (err error) {
	if f.text == "" {
		return nil
	}
	if f.platform, err = oras.ParsePlatform(f.text); err != nil {
		return fmt.Errorf("failed to parse platform %q: expecting os[/arch][/variant][:os_version] in --%s", f.text, f.name)
	}
	return nil
}

// annotationFlags are --annotation and --annotation-file; see annotations.go.
type annotationFlags struct {
	pairs []string
	file  string
}

func (f *annotationFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&f.pairs, "annotation", "a", nil, "manifest annotations")
	fs.StringVar(&f.file, "annotation-file", "", "path of the annotation file")
}

// requireFlag marks a flag as required.
func requireFlag(cmd *cobra.Command, name string) {
	if err := cmd.MarkFlagRequired(name); err != nil {
		panic(err) // the flag is not there
	}
}
