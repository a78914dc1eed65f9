package server

import (
	"bytes"
	"strconv"
	"strings"
)

// An exposition is metrics as text, in the format 0.0.4 that Prometheus reads
// (prometheus.io/docs/instrumenting/exposition_formats). All of a name stand
// together.
type exposition struct {
	buffer bytes.Buffer
	last   string // the family that is being written
}

func (x *exposition) text() []byte { return x.buffer.Bytes() }

// family begins the metrics called name, unless it has begun.
func (x *exposition) family(name, help, kind string) {
	if x.last == name {
		return
	}
	x.last = name
	help = strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(help)
	x.line("# HELP ", name, " ", help)
	x.line("# TYPE ", name, " ", kind)
}

// sample writes one value; labels are names and values in turn.
func (x *exposition) sample(name string, value float64, labels ...string) {
	x.line(name, labelled(labels), " ", number(value))
}

// histogram writes how many values there were up to each bound and above all.
func (x *exposition) histogram(name string, bounds []float64, counts []uint64, sum float64, labels ...string) {
	n := uint64(0)
	for i, bound := range bounds {
		n += counts[i]
		x.sample(name+"_bucket", float64(n), append(labels[:len(labels):len(labels)], "le", number(bound))...)
	}
	n += counts[len(bounds)]
	x.sample(name+"_bucket", float64(n), append(labels[:len(labels):len(labels)], "le", "+Inf")...)
	x.sample(name+"_sum", sum, labels...)
	x.sample(name+"_count", float64(n), labels...)
}

func (x *exposition) line(parts ...string) {
	for _, p := range parts {
		x.buffer.WriteString(p)
	}
	x.buffer.WriteByte('\n')
}

func labelled(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	var b strings.Builder
	for i := 0; i+1 < len(labels); i += 2 {
		b.WriteString(separator(i))
		b.WriteString(labels[i] + `="` + escape.Replace(labels[i+1]) + `"`)
	}
	return b.String() + "}"
}

func separator(i int) string {
	if i == 0 {
		return "{"
	}
	return ","
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
