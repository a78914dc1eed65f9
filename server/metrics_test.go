package server_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

var (
	sampleLine = regexp.MustCompile(`^([a-z_]+)(\{[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\[\\"n])*")*\})? ([-+.0-9eInf]+)$`)
	typeLine   = regexp.MustCompile(`^# TYPE ([a-z_]+) (counter|gauge|histogram)$`)
)

// read reads metrics and checks their form: each family has one HELP, one TYPE and
// then its samples, none twice.
func read(t testing.TB, m *server.Metrics) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if ct := w.Header().Get("Content-Type"); w.Code != 200 || ct != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("status %d, type %q", w.Code, ct)
	}
	values, families, family, kind := map[string]float64{}, map[string]bool{}, "", ""
	var help string
	for text := range strings.Lines(w.Body.String()) {
		text, ok := strings.CutSuffix(text, "\n")
		if !ok {
			t.Errorf("line %q has no end", text)
		}
		if rest, ok := strings.CutPrefix(text, "# HELP "); ok {
			help, _, _ = strings.Cut(rest, " ")
			continue
		}
		if found := typeLine.FindStringSubmatch(text); found != nil {
			if family, kind = found[1], found[2]; families[family] || help != family {
				t.Errorf("%s once more, or without help", family)
			}
			families[family] = true
			continue
		}
		found := sampleLine.FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("line %q", text)
		}
		name := found[1]
		if kind == "histogram" {
			name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		}
		v, err := strconv.ParseFloat(found[3], 64)
		if _, twice := values[found[1]+found[2]]; err != nil || twice || name != family || kind == "counter" && !strings.HasSuffix(name, "_total") {
			t.Errorf("line %q of %s: %v", text, family, err)
		}
		values[found[1]+found[2]] = v
	}
	return values
}

// TestMetrics: requests are counted by route, method and status, bytes by route.
func TestMetrics(t *testing.T) {
	metrics := &server.Metrics{}
	registry := server.New(memory.NewRegistry(), &server.Options{Authorize: htpasswd(t, "ann")})
	metrics.Add(server.Metric{Name: "oras_uploads_open", Help: "Uploads\nthat \\ go on.", Value: func() float64 { return float64(server.OpenUploads(registry)) }},
		server.Metric{Name: "oras_unknown", Help: "Nobody knows.", Value: math.NaN},
		server.Metric{Name: "oras_build_info", Help: "1.", Labels: []string{"version", "a\"b\\c\nd", "go", "1"}, Value: func() float64 { return 1 }},
		server.Metric{Name: "oras_build_info", Help: "1.", Labels: []string{"version", "x"}, Value: func() float64 { return 2 }})
	f, end := wrap(t, server.Observe(&server.ObserveOptions{Metrics: metrics})(registry))
	f.want("401", "GET", "/v2/", nil)
	f.want("401", "GET", "/v2/", nil, "Authorization: Basic eDp5")
	f.user = "ann"
	blob := f.pushBlob("a", []byte("content"))
	f.pushManifest("a", "v1", image("x"))
	for range 3 {
		f.want("200", "GET", "/v2/a/blobs/"+blob, nil)
	}
	f.want("200", "HEAD", "/v2/a/blobs/"+blob, nil)
	f.want("404", "GET", "/v2/a/manifests/v2", nil)
	location := f.want("202", "PATCH", f.begin("a"), []byte("abc")).Header.Get("Location")
	f.begin("a")
	if got := read(t, metrics)["oras_uploads_open"]; got != 2 {
		t.Errorf("%v uploads", got)
	}
	f.want("204", "DELETE", location, nil)
	end()
	values := read(t, metrics)
	for name, want := range map[string]float64{
		`oras_http_requests_total{route="ping",method="GET",status="401"}`:                   2,
		`oras_login_failures_total`:                                                          1,
		`oras_http_requests_total{route="uploads",method="POST",status="201"}`:               1,
		`oras_http_requests_total{route="uploads",method="POST",status="202"}`:               2,
		`oras_http_requests_total{route="blob",method="GET",status="200"}`:                   3,
		`oras_http_requests_total{route="blob",method="HEAD",status="200"}`:                  1,
		`oras_http_requests_total{route="manifest",method="GET",status="404"}`:               1,
		`oras_http_request_duration_seconds_count{route="uploads",method="POST"}`:            3,
		`oras_http_request_duration_seconds_bucket{route="uploads",method="POST",le="+Inf"}`: 3,
		`oras_http_request_duration_seconds_count{route="blob",method="GET"}`:                3,
		`oras_http_response_bytes_total{route="blob"}`:                                       3 * 7,
		`oras_http_request_bytes_total{route="uploads"}`:                                     7,
		`oras_http_request_bytes_total{route="upload"}`:                                      3,
		`oras_http_request_bytes_total{route="manifest"}`:                                    float64(len(image("x"))),
		`oras_http_requests_in_flight`:                                                       0,
		`oras_uploads_open`:                                                                  1,
		`oras_build_info{version="a\"b\\c\nd",go="1"}`:                                       1,
		`oras_build_info{version="x"}`:                                                       2,
		`oras_http_request_duration_seconds_bucket{route="manifest",method="GET",le="300"}`:  1,
	} {
		if got, ok := values[name]; !ok || got != want {
			t.Errorf("%s is %v; it must be %v", name, got, want)
		}
	}
	if _, ok := values["oras_unknown"]; ok {
		t.Error("what is not known is there")
	}
}

// TestMetricsBounded: clients cannot make labels.
func TestMetricsBounded(t *testing.T) {
	metrics := &server.Metrics{}
	f, end := wrap(t, server.Observe(&server.ObserveOptions{Metrics: metrics})(server.New(memory.NewRegistry(), nil)))
	for i := range 200 {
		name := fmt.Sprintf("marker%d", i)
		f.do("GET", "/v2/"+name+"/manifests/"+name, nil)
		f.do("MARKER"+strconv.Itoa(i), "/v2/"+name+"/blobs/"+name, nil)
		f.do("GET", "/"+name+"?"+name, nil)
	}
	end()
	values := read(t, metrics)
	for name := range values {
		if strings.Contains(strings.ToLower(name), "marker") {
			t.Fatalf("%s", name)
		}
	}
	if len(values) > 100 {
		t.Errorf("%d samples", len(values))
	}
	if got := values[`oras_http_requests_total{route="blob",method="other",status="405"}`]; got != 200 {
		t.Errorf("%v of other methods", got)
	}
}

// TestMetricsMoving: bytes are counted while they move.
func TestMetricsMoving(t *testing.T) {
	metrics := &server.Metrics{}
	f, _ := wrap(t, server.Observe(&server.ObserveOptions{Metrics: metrics})(server.New(memory.NewRegistry(), &server.Options{TempDir: t.TempDir()})))
	data := random(1 << 20)
	location := f.begin("a")
	body, send := io.Pipe()
	answers := make(chan *answer)
	go func() { answers <- f.do("PUT", location+"?digest="+oras.SHA256.Digest(data).String(), body) }()
	send.Write(data[:len(data)/2])
	for read(t, metrics)[`oras_http_request_bytes_total{route="upload"}`] < float64(len(data)/4) {
		// It comes.
	}
	if got := read(t, metrics)["oras_http_requests_in_flight"]; got != 1 {
		t.Errorf("%v requests in flight", got)
	}
	send.Write(data[len(data)/2:])
	send.Close()
	if a := <-answers; a.StatusCode != 201 {
		t.Errorf("status %d", a.StatusCode)
	}
}

// TestMetricsConcurrent counts what many clients do at once.
func TestMetricsConcurrent(t *testing.T) {
	metrics := &server.Metrics{}
	f, end := wrap(t, server.Observe(&server.ObserveOptions{Metrics: metrics})(server.New(memory.NewRegistry(), nil)))
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for range 20 {
				f.do([]string{"GET", "HEAD"}[i%2], "/v2/", nil)
				read(t, metrics)
			}
		})
	}
	clients.Wait()
	end()
	values := read(t, metrics)
	if a, b := values[`oras_http_requests_total{route="ping",method="GET",status="200"}`], values[`oras_http_requests_total{route="ping",method="HEAD",status="200"}`]; a != 80 || b != 80 {
		t.Errorf("%v and %v requests", a, b)
	}
	w := httptest.NewRecorder()
	metrics.ServeHTTP(w, httptest.NewRequest("POST", "/metrics", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", w.Code)
	}
}
