// Command quickstart makes what quickstart.sh attaches to the artifact it pushes:
//
//	quickstart sbom BINARY           an SBOM (SPDX 2.3, JSON) of a Go program, from its build information
//	quickstart sign FILE KEY         an Ed25519 signature of a file; the public key goes to the file KEY
//	quickstart verify FILE SIG KEY   checks one
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "sbom":
		return sbom(args[1])
	case len(args) == 3 && args[0] == "sign":
		return sign(args[1], args[2])
	case len(args) == 4 && args[0] == "verify":
		return verify(args[1], args[2], args[3])
	}
	return errors.New("usage: quickstart sbom BINARY | sign FILE KEY | verify FILE SIGNATURE KEY")
}

// The parts of an SPDX 2.3 document that are used here.
type (
	document struct {
		SPDXVersion       string         `json:"spdxVersion"`
		DataLicense       string         `json:"dataLicense"`
		SPDXID            string         `json:"SPDXID"`
		Name              string         `json:"name"`
		DocumentNamespace string         `json:"documentNamespace"`
		CreationInfo      creationInfo   `json:"creationInfo"`
		Packages          []spdxPackage  `json:"packages"`
		Relationships     []relationship `json:"relationships"`
	}
	creationInfo struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		SPDXID           string        `json:"SPDXID"`
		Name             string        `json:"name"`
		VersionInfo      string        `json:"versionInfo"`
		DownloadLocation string        `json:"downloadLocation"`
		FilesAnalyzed    bool          `json:"filesAnalyzed"`
		ExternalRefs     []externalRef `json:"externalRefs"`
		Checksums        []checksum    `json:"checksums,omitempty"`
	}
	externalRef struct {
		ReferenceCategory string `json:"referenceCategory"`
		ReferenceType     string `json:"referenceType"`
		ReferenceLocator  string `json:"referenceLocator"`
	}
	checksum struct {
		Algorithm     string `json:"algorithm"`
		ChecksumValue string `json:"checksumValue"`
	}
	relationship struct {
		SPDXElementID      string `json:"spdxElementId"`
		RelationshipType   string `json:"relationshipType"`
		RelatedSPDXElement string `json:"relatedSpdxElement"`
	}
)

func sbom(path string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	program := newPackage(info.Main)
	program.Checksums = []checksum{{"SHA256", digest}}
	d := document{
		SPDXVersion:       "SPDX-2.3",
		DataLicense:       "CC0-1.0",
		SPDXID:            "SPDXRef-DOCUMENT",
		Name:              info.Path,
		DocumentNamespace: "https://" + info.Path + "/spdx/" + digest,
		CreationInfo:      creationInfo{time.Now().UTC().Format(time.RFC3339), []string{"Tool: oras-quickstart"}},
		Packages:          []spdxPackage{program},
		Relationships:     []relationship{{"SPDXRef-DOCUMENT", "DESCRIBES", program.SPDXID}},
	}
	modules := append([]*debug.Module{{Path: "std", Version: info.GoVersion}}, info.Deps...)
	for _, m := range modules {
		for m.Replace != nil {
			m = m.Replace
		}
		p := newPackage(*m)
		d.Packages = append(d.Packages, p)
		d.Relationships = append(d.Relationships, relationship{program.SPDXID, "DEPENDS_ON", p.SPDXID})
	}
	return print(d)
}

var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func newPackage(m debug.Module) spdxPackage {
	return spdxPackage{
		SPDXID:           "SPDXRef-" + notInID.ReplaceAllString(m.Path+"-"+m.Version, "-"),
		Name:             m.Path,
		VersionInfo:      m.Version,
		DownloadLocation: "NOASSERTION",
		ExternalRefs:     []externalRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + m.Path + "@" + m.Version}},
	}
}

type signature struct {
	Algorithm string `json:"algorithm"`
	Digest    string `json:"digest"` // of what is signed
	Signature []byte `json:"signature"`
}

func sign(path, keyPath string) error {
	digest, err := digestOf(path)
	if err != nil {
		return err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if err := os.WriteFile(keyPath, []byte(hex.EncodeToString(public)+"\n"), 0o644); err != nil {
		return err
	}
	return print(signature{"ed25519", digest, ed25519.Sign(private, []byte(digest))})
}

func verify(path, signaturePath, keyPath string) error {
	digest, err := digestOf(path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(signaturePath)
	if err != nil {
		return err
	}
	var s signature
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("%s: %w", signaturePath, err)
	}
	text, err := os.ReadFile(keyPath)
	if err != nil {
		return err
	}
	key := make([]byte, ed25519.PublicKeySize)
	if n, err := hex.Decode(key, text[:min(len(text), 2*len(key))]); err != nil || n != len(key) {
		return fmt.Errorf("%s: not a public key", keyPath)
	}
	if s.Digest != digest || !ed25519.Verify(key, []byte(digest), s.Signature) {
		return fmt.Errorf("%s is not a signature of %s", signaturePath, path)
	}
	return nil
}

func digestOf(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

func print(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
