// Package script says how a container of the cluster behaves: what it answers to its checks, when it ends and how, and
// what it uses. It turns the JSON of a pod's annotation into plans and plans into answers; it opens no port and reads no
// clock.
package script

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// AnnotationPrefix, followed by a container's name, is the annotation of the pod that holds the container's script.
const AnnotationPrefix = "minicluster.probe-tuner.io/"

// Script is one behaviour for each start of a container; the last one repeats.
type Script []Behaviour

// Behaviour is what a container does from one start to its end. The zero value answers every check at once and healthy.
type Behaviour struct {
	// Epoch is a unix time that the clocks of steps and trace count from, so that several pods share them; 0: steps count
	// from the start of the container, the trace from the start of the pod.
	Epoch float64 `json:"epoch"`
	// ListenAfter is how many seconds after the start the ports open; until then they refuse.
	ListenAfter float64 `json:"listen_after"`
	// Queue holds the latencies (ms; negative: no answer) of the first checks, one each, before anything else counts.
	Queue []float64 `json:"queue"`
	// Steps answer by time: of those whose time has come and whose path fits the last one counts.
	Steps []Step `json:"steps"`
	// Trace names a recording that answers where no step does; relative to the cluster's --traces.
	Trace string `json:"trace"`
	// Offset is where in the trace the pod begins, in seconds; absent: a place that follows from the pod's name.
	Offset *float64 `json:"offset"`
	// Exit ends the container by itself.
	Exit *Exit `json:"exit"`
	// StopMS is how long the container takes to obey SIGTERM; longer than the grace period means SIGKILL (137).
	StopMS float64 `json:"stop_ms"`
	// StopCode is its exit code then.
	StopCode int32 `json:"stop_code"`
	// Pull makes pulls of images fail. Only that of the first behaviour counts.
	Pull *Pull `json:"pull"`
	// Usage is what the container uses; absent: the trace's pod_cores, or little.
	Usage []Load `json:"usage"`
}

// Step is an answer that holds from a moment on.
type Step struct {
	// At is in seconds, by the clock of the steps.
	At float64 `json:"at"`
	// Path is the HTTP path, "exec:COMMAND LINE", "grpc:SERVICE" or "tcp:PORT" that the step is for; empty: all.
	Path string `json:"path"`
	// MS is how long the answer takes; negative: for ever.
	MS float64 `json:"ms"`
	// Status is the HTTP status, 200 unless given. From 400 on an exec check exits 1, a gRPC check is NOT_SERVING and a
	// TCP port is closed.
	Status int `json:"status"`
}

// Exit is how a container ends by itself.
type Exit struct {
	At   float64 `json:"at"` // seconds from the start
	Code int32   `json:"code"`
	// Reason is as container runtimes give it: "OOMKilled" for an OOM kill; empty: Completed or Error by the code.
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Pull makes the first pulls of a pod fail.
type Pull struct {
	// Image is the one that fails; empty: every image of the pod.
	Image string `json:"image"`
	// Fails is how many pulls fail; negative: all.
	Fails int `json:"fails"`
	// Error is the runtime's text.
	Error string `json:"error"`
}

// Load is a usage that holds from a moment on.
type Load struct {
	At    float64 `json:"at"`     // seconds from the start
	CPU   float64 `json:"cpu_m"`  // thousandths of a core
	MemMi float64 `json:"mem_mi"` // MiB
	// Throttled is the share of its CFS periods in which a container with a CPU limit stands still, 0 to 1.
	Throttled float64 `json:"throttled"`
}

// Parse reads the JSON of an annotation: a list of behaviours. Empty text is a script too: of one healthy behaviour.
// The error names every value that cannot be, with its place; an unknown field is a mistake.
func Parse(text string) (Script, error) {
	if strings.TrimSpace(text) == "" {
		return Script{{}}, nil
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	var s Script
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("script: %w; wanted a JSON list with one behaviour for each start", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("script: more text after the list")
	}
	if len(s) == 0 {
		return Script{{}}, nil
	}
	var mistakes []error
	for i, b := range s {
		for _, m := range b.mistakes() {
			mistakes = append(mistakes, fmt.Errorf("script: [%d].%s", i, m))
		}
	}
	return s, errors.Join(mistakes...)
}

// At is the behaviour of the given start, counted from 0.
func (s Script) At(start int) Behaviour { return s[min(max(start, 0), len(s)-1)] }

func (b *Behaviour) mistakes() (found []string) {
	say := func(format string, a ...any) { found = append(found, fmt.Sprintf(format, a...)) }
	notBelow := func(where string, v float64) {
		if v < 0 {
			say("%s: %v; wanted a number not below 0", where, v)
		}
	}
	notBelow("epoch", b.Epoch)
	notBelow("listen_after", b.ListenAfter)
	notBelow("stop_ms", b.StopMS)
	if b.Offset != nil {
		notBelow("offset", *b.Offset)
		if b.Trace == "" {
			say("offset: there is no trace")
		}
	}
	last := 0.0
	for i, s := range b.Steps {
		if s.At < last {
			say("steps[%d].at: %v; wanted at least %v, that of the step before", i, s.At, last)
		}
		last = max(last, s.At)
		if s.Status != 0 && (s.Status < 200 || s.Status > 599) {
			say("steps[%d].status: %d; wanted 200 to 599", i, s.Status)
		}
	}
	if e := b.Exit; e != nil {
		notBelow("exit.at", e.At)
		if e.Code < 0 || e.Code > 255 {
			say("exit.code: %d; wanted 0 to 255", e.Code)
		}
	}
	if b.StopCode < 0 || b.StopCode > 255 {
		say("stop_code: %d; wanted 0 to 255", b.StopCode)
	}
	last = 0
	for i, u := range b.Usage {
		if u.At < last {
			say("usage[%d].at: %v; wanted at least %v, that of the step before", i, u.At, last)
		}
		last = max(last, u.At)
		notBelow(fmt.Sprintf("usage[%d].cpu_m", i), u.CPU)
		notBelow(fmt.Sprintf("usage[%d].mem_mi", i), u.MemMi)
		if !(u.Throttled >= 0 && u.Throttled <= 1) {
			say("usage[%d].throttled: %v; wanted 0 to 1", i, u.Throttled)
		}
	}
	return found
}

// Offset is where in a trace of the given period a pod of the given name begins: the same at every call, and spread
// evenly over the trace by an FNV-1a hash.
func Offset(pod string, period float64) float64 {
	h := uint64(14695981039346656037)
	for i := range len(pod) {
		h = (h ^ uint64(pod[i])) * 1099511628211
	}
	h ^= h >> 33 // the last letters of a name alone would move the high bits little
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return float64(h) / math.MaxUint64 * period
}
