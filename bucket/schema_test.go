package bucket_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// A folder says of which version it is, and one of a later version is left alone.
func TestSchema(t *testing.T) {
	path := t.TempDir()
	reopen := func() error {
		d, err := bucket.OpenDir(path)
		if err == nil {
			d.Close()
		}
		return err
	}
	must(t, reopen())
	name := filepath.Join(path, "_schema")
	data, err := os.ReadFile(name)
	must(t, err)
	if string(data) != `{"version":1}` {
		t.Errorf("_schema is %s", data)
	}
	must(t, reopen())
	for content, words := range map[string]string{
		`{"version":2}`:  "version 2,knows 1,use the later one,or another folder",
		`{"version":99}`: "version 99,knows 1",
		`{"version":-1}`: "version is -1",
		`{}`:             "version is 0",
		``:               "_schema,damaged",
		`x`:              "_schema,damaged",
	} {
		must(t, os.WriteFile(name, []byte(content), 0o600))
		err := reopen()
		if err == nil {
			t.Errorf("_schema %q: no error", content)
			continue
		}
		for word := range strings.SplitSeq(words+",data folder "+path, ",") {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("_schema %q: %q does not say %q", content, err, word)
			}
		}
	}

	// One that says nothing is of the first version, and stays as it is.
	must(t, os.WriteFile(name, []byte(`{"version":1}`), 0o600))
	d, err := bucket.OpenDir(path)
	must(t, err)
	push(t, repository(t, bucket.New(d), "a"), []byte("content"), oras.MediaTypeBlob)
	must(t, d.Close())
	must(t, os.Remove(name))
	must(t, reopen())
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("_schema: %v; it must not be there", err)
	}
}
