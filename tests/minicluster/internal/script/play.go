package script

import (
	"iter"
	"math"

	"minicluster/internal/trace"
)

// Play is a behaviour made ready for one start of a container: with its trace read and the trace's clock fixed.
type Play struct {
	Behaviour
	// Recording is the behaviour's trace; nil: it has none.
	Recording *trace.Trace
}

// Answer is how one check is answered.
type Answer struct {
	// MS is how long the answer takes; negative: there will be none.
	MS float64
	// Status is the HTTP status; from 400 on the check fails.
	Status int
	// Refused: the connection is reset instead of answered.
	Refused bool
}

// refusedBelowMS parts two kinds of failed checks, both of which a trace records as ok 0: a refusal comes at once, while
// a server that answers badly has at least read the request. To the kubelet's counters both are a failure.
const refusedBelowMS = 50

// Answer is what check number n (from 0) of a path gets. stepClock and traceClock are seconds.
func (p *Play) Answer(n int, stepClock, traceClock float64, path string) Answer {
	if n < len(p.Queue) {
		return Answer{MS: p.Queue[n], Status: 200}
	}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		if s := p.Steps[i]; s.At <= stepClock && (s.Path == "" || s.Path == path) {
			if s.Status == 0 {
				s.Status = 200
			}
			return Answer{MS: s.MS, Status: s.Status}
		}
	}
	if p.Recording == nil {
		return Answer{Status: 200}
	}
	switch r := p.Recording.At(traceClock); {
	case math.IsNaN(r.LatencyMS):
		return Answer{MS: -1, Status: 503}
	case r.OK:
		return Answer{MS: r.LatencyMS, Status: 200}
	default:
		return Answer{MS: r.LatencyMS, Status: 503, Refused: r.LatencyMS < refusedBelowMS}
	}
}

// A container uses a little of both from its first moment: metrics-server leaves out a pod in which one container's CPU
// counter or memory is zero.
const (
	idleCores   = 0.005
	idleMemory  = 16 << 20
	leastCores  = 0.001
	leastMemory = 1 << 20
)

// Used is the container's usage after the given seconds since its start, of which the first fell on second traceStart
// of the trace: CPU nanoseconds so far (never falling), memory in bytes now.
func (p *Play) Used(seconds, traceStart float64) (cpuNS, memory uint64) {
	if len(p.Usage) > 0 {
		return p.usageSteps(seconds)
	}
	cores := idleCores * seconds
	if p.Recording != nil && p.Recording.HasCores {
		cores = p.Recording.CPUSeconds(traceStart+seconds) - p.Recording.CPUSeconds(traceStart) + leastCores*seconds
	}
	return uint64(max(cores, 0) * 1e9), idleMemory
}

// steps are those of the usage that have begun by the given seconds since the container's start, and how long each lasted.
func (p *Play) steps(seconds float64) iter.Seq2[Load, float64] {
	return func(yield func(Load, float64) bool) {
		for i, u := range p.Usage {
			end := seconds
			if i+1 < len(p.Usage) {
				end = min(end, p.Usage[i+1].At)
			}
			if u.At > seconds || !yield(u, end-u.At) {
				return
			}
		}
	}
}

func (p *Play) usageSteps(seconds float64) (cpuNS, memory uint64) {
	ns, memory := leastCores*seconds*1e9, uint64(leastMemory)
	for u, lasted := range p.steps(seconds) {
		ns += lasted * u.CPU * 1e6
		memory = max(uint64(u.MemMi*(1<<20)), leastMemory)
	}
	return uint64(ns), memory
}

// cfsPeriods is how many periods of CFS bandwidth control a second has.
const cfsPeriods = 10

// CFS is how many periods of CFS bandwidth control a container that always runs has had after the given seconds since its
// start, and in how many of them it stood still. Both never fall.
func (p *Play) CFS(seconds float64) (periods, throttled uint64) {
	still := 0.0
	for u, lasted := range p.steps(seconds) {
		still += lasted * u.Throttled
	}
	return uint64(max(seconds, 0) * cfsPeriods), uint64(still * cfsPeriods)
}

// Exceeds is when, in seconds since the start, the script first uses more memory than a limit in bytes; limit 0: never.
func (p *Play) Exceeds(limit int64) (seconds float64, ever bool) {
	for _, u := range p.Usage {
		if limit > 0 && u.MemMi*(1<<20) > float64(limit) {
			return u.At, true
		}
	}
	return 0, false
}
