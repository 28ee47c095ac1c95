// Package trace reads recorded health checks: CSV with a header line, one row a check, as probe-tuner writes them
// (trace, version 1). A trace is endless here: it begins again one median step after its last row.
package trace

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Row is one recorded check.
type Row struct {
	// At is when the check started, in seconds from the start of the recording.
	At float64
	// LatencyMS is how long its answer took, in milliseconds; NaN: there was none.
	LatencyMS float64
	// OK tells whether the answer was healthy.
	OK bool
	// NodeCPU is the share of the node's cores in use, 0 to 1; NaN: unknown.
	NodeCPU float64
	// PodCores is how many cores the pod used; NaN: unknown.
	PodCores float64
}

// Trace is a recording that was read without a mistake: it has at least one row, in the order of time.
type Trace struct {
	rows   []Row
	period float64
	// cores[i] is the CPU time (core-seconds) that the pod used before row i; one more entry than rows, for a whole round.
	cores []float64
	// HasCores tells whether any row knows the pod's CPU.
	HasCores bool
}

// Load reads a file. The error names the file.
func Load(path string) (*Trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := Parse(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// mostMistakes bounds an error's length: a file of another kind is wrong on every line.
const mostMistakes = 10

// Parse reads a trace. The error holds the mistakes in the order of their lines, each with the line's number (from 1,
// counting every line), the value found and the value wanted.
func Parse(r io.Reader) (*Trace, error) {
	var (
		t        Trace
		head     *header
		mistakes []error
		line     int
	)
	s := bufio.NewScanner(r)
	for s.Scan() && len(mistakes) < mostMistakes {
		line++
		text := strings.TrimSuffix(s.Text(), "\r")
		if strings.HasPrefix(text, "#") {
			continue
		}
		cells := strings.Split(text, ",")
		if head == nil {
			h, err := parseHeader(cells)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			head = &h
			continue
		}
		row, err := head.row(cells)
		if err == nil && len(t.rows) > 0 && row.At < t.rows[len(t.rows)-1].At {
			err = fmt.Errorf("t_s: %q: time falls; wanted at least %v", cells[head.at], t.rows[len(t.rows)-1].At)
		}
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("line %d: %w", line, err))
			continue
		}
		t.rows = append(t.rows, row)
	}
	if err := s.Err(); err != nil {
		mistakes = append(mistakes, fmt.Errorf("line %d: %w", line+1, err))
	}
	if len(mistakes) == 0 && len(t.rows) == 0 {
		mistakes = append(mistakes, fmt.Errorf("line %d: no row; wanted a header line and at least one check", max(line, 1)))
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	t.finish()
	return &t, nil
}

// header tells where each column stands; -1: absent.
type header struct{ at, latency, ok, node, cores, width int }

func parseHeader(cells []string) (header, error) {
	find := func(name string) (int, error) {
		at := -1
		for i, c := range cells {
			if strings.TrimSpace(c) != name {
				continue
			}
			if at >= 0 {
				return at, fmt.Errorf("header: column %s stands twice", name)
			}
			at = i
		}
		return at, nil
	}
	h := header{width: len(cells)}
	var mistakes []error
	for _, c := range []struct {
		name   string
		at     *int
		needed bool
	}{{"t_s", &h.at, true}, {"latency_ms", &h.latency, true}, {"ok", &h.ok, true}, {"node_cpu", &h.node, false}, {"pod_cores", &h.cores, false}} {
		at, err := find(c.name)
		if err == nil && at < 0 && c.needed {
			err = fmt.Errorf("header: no column %s in %q", c.name, strings.Join(cells, ","))
		}
		if err != nil {
			mistakes = append(mistakes, err)
		}
		*c.at = at
	}
	return h, errors.Join(mistakes...)
}

func (h header) row(cells []string) (Row, error) {
	if len(cells) != h.width {
		return Row{}, fmt.Errorf("%d values; wanted %d, as in the header", len(cells), h.width)
	}
	var mistakes []error
	number := func(name string, at int, needed bool) float64 {
		if at < 0 || strings.TrimSpace(cells[at]) == "" && !needed {
			return math.NaN()
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(cells[at]), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			mistakes = append(mistakes, fmt.Errorf("%s: %q; wanted a finite number not below 0", name, cells[at]))
		}
		return v
	}
	r := Row{
		At:        number("t_s", h.at, true),
		LatencyMS: number("latency_ms", h.latency, false),
		NodeCPU:   number("node_cpu", h.node, false),
		PodCores:  number("pod_cores", h.cores, false),
	}
	switch strings.TrimSpace(cells[h.ok]) {
	case "1":
		r.OK = true
		if math.IsNaN(r.LatencyMS) {
			mistakes = append(mistakes, errors.New(`ok: "1" without a latency; wanted 0, or a latency_ms`))
		}
	case "0":
	default:
		mistakes = append(mistakes, fmt.Errorf("ok: %q; wanted 1 or 0", cells[h.ok]))
	}
	return r, errors.Join(mistakes...)
}

// finish works out the length of a round and the CPU used up to each row.
func (t *Trace) finish() {
	gaps := make([]float64, 0, len(t.rows))
	for i := 1; i < len(t.rows); i++ {
		gaps = append(gaps, t.rows[i].At-t.rows[i-1].At)
	}
	step := 1.0 // one row, or all at one moment: a second is as good as any
	if len(gaps) > 0 {
		slices.Sort(gaps)
		if m := gaps[len(gaps)/2]; m > 0 {
			step = m
		}
	}
	t.period = t.Seconds() + step

	t.cores = make([]float64, len(t.rows)+1)
	for i, r := range t.rows {
		end, begin := t.period, r.At
		if i == 0 {
			begin = 0 // before the first row its values hold
		}
		if i+1 < len(t.rows) {
			end = t.rows[i+1].At
		}
		used := 0.0
		if !math.IsNaN(r.PodCores) {
			t.HasCores = true
			used = r.PodCores * (end - begin)
		}
		t.cores[i+1] = t.cores[i] + used
	}
}

// Seconds is the moment of the last row.
func (t *Trace) Seconds() float64 { return t.rows[len(t.rows)-1].At }

// Period is how long one round takes, in seconds, above 0: up to the last row, and one median step more.
func (t *Trace) Period() float64 { return t.period }

// At is what a check sees that starts at the given second, which may lie in any round: the last row not after it, or
// the first row when there is none.
func (t *Trace) At(seconds float64) Row { return t.rows[t.index(t.wrap(seconds))] }

// CPUSeconds is how much CPU time (core-seconds) the pod used from second 0 to the given one, rounds included.
func (t *Trace) CPUSeconds(seconds float64) float64 {
	rounds := math.Floor(seconds / t.period)
	in := t.wrap(seconds)
	i := t.index(in)
	begin := t.rows[i].At
	if i == 0 {
		begin = 0
	}
	part := 0.0
	if c := t.rows[i].PodCores; !math.IsNaN(c) {
		part = c * (in - begin)
	}
	return rounds*t.cores[len(t.rows)] + t.cores[i] + part
}

func (t *Trace) wrap(seconds float64) float64 {
	return seconds - math.Floor(seconds/t.period)*t.period
}

// index is the last row not after a second of the first round.
func (t *Trace) index(second float64) int {
	i, _ := slices.BinarySearchFunc(t.rows, second, func(r Row, s float64) int {
		if r.At <= s {
			return -1
		}
		return 1
	})
	return max(i-1, 0)
}
