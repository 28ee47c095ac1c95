package trace

import (
	"math"
	"strings"
	"testing"
)

func parse(t *testing.T, text string) *Trace {
	t.Helper()
	tr, err := Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

const small = "t_s,latency_ms,ok\n0,10,1\n1,20,1\n2,30,0\n3,,0\n"

func TestColumnsStandInAnyOrderAndOthersAreIgnored(t *testing.T) {
	r := parse(t, "# a comment\nok,colour,node_cpu,latency_ms,t_s,pod_cores\n# another\n1,red,0.5,12.5,0,0.25\n").At(0)
	if r != (Row{At: 0, LatencyMS: 12.5, OK: true, NodeCPU: 0.5, PodCores: 0.25}) {
		t.Errorf("%+v", r)
	}
}

func TestAnEmptyLatencyIsNoAnswer(t *testing.T) {
	if r := parse(t, small).At(3); !math.IsNaN(r.LatencyMS) || r.OK {
		t.Errorf("%+v", r)
	}
}

func TestAbsentAndEmptyUsageIsUnknown(t *testing.T) {
	for _, text := range []string{small, "t_s,latency_ms,ok,node_cpu,pod_cores\n0,1,1,,\n"} {
		tr := parse(t, text)
		if r := tr.At(0); !math.IsNaN(r.NodeCPU) || !math.IsNaN(r.PodCores) || tr.HasCores {
			t.Errorf("%+v", r)
		}
	}
}

func TestACheckSeesTheLastRowNotAfterIt(t *testing.T) {
	tr := parse(t, "t_s,latency_ms,ok\n1,10,1\n2,20,1\n2,25,1\n3,30,1\n")
	for at, want := range map[float64]float64{0: 10, 1: 10, 1.99: 10, 2: 25, 2.5: 25, 3: 30, 3.9: 30} {
		if got := tr.At(at).LatencyMS; got != want {
			t.Errorf("at %v: %v ms, wanted %v", at, got, want)
		}
	}
}

func TestATraceBeginsAgainAMedianStepAfterItsLastRow(t *testing.T) {
	tr := parse(t, "t_s,latency_ms,ok\n0,1,1\n2,2,1\n4,3,1\n9,4,1\n")
	if tr.Seconds() != 9 || tr.Period() != 11 {
		t.Fatalf("seconds %v, period %v", tr.Seconds(), tr.Period())
	}
	for at, want := range map[float64]float64{10.9: 4, 11: 1, 13: 2, 11*1000 + 4.5: 3} {
		if got := tr.At(at).LatencyMS; got != want {
			t.Errorf("at %v: %v ms, wanted %v", at, got, want)
		}
	}
}

func TestCPUTimeIsTheSumOfTheRowsAndOfWholeRounds(t *testing.T) {
	tr := parse(t, "t_s,latency_ms,ok,pod_cores\n0,1,1,1\n2,1,1,3\n4,1,1,0\n")
	for at, want := range map[float64]float64{0: 0, 1: 1, 2: 2, 3: 5, 4: 8, 6: 8, 7: 9, 12: 16, 13: 17} {
		if got := tr.CPUSeconds(at); math.Abs(got-want) > 1e-9 {
			t.Errorf("at %v: %v core-seconds, wanted %v", at, got, want)
		}
	}
}

func TestEveryMistakeIsNamedWithItsLineAndValue(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "line 1: no row"},
		{"t_s,latency_ms,ok\n", "line 1: no row"},
		{"t_s,latency_ms\n0,1\n", "line 1: header: no column ok"},
		{"t_s,ok,latency_ms,ok\n0,1,1,1\n", "line 1: header: column ok stands twice"},
		{"# x\nt_s,latency_ms,ok\n# y\n0,1\n", "line 4: 2 values; wanted 3"},
		{"t_s,latency_ms,ok\n-1,1,1\n", `line 2: t_s: "-1"; wanted a finite number not below 0`},
		{"t_s,latency_ms,ok\n,1,1\n", `line 2: t_s: ""`},
		{"t_s,latency_ms,ok\n0,NaN,1\n", `line 2: latency_ms: "NaN"`},
		{"t_s,latency_ms,ok\n0,+Inf,1\n", `line 2: latency_ms: "+Inf"`},
		{"t_s,latency_ms,ok\n0,1,yes\n", `line 2: ok: "yes"; wanted 1 or 0`},
		{"t_s,latency_ms,ok\n0,,1\n", `line 2: ok: "1" without a latency`},
		{"t_s,latency_ms,ok\n2,1,1\n1,1,1\n", `line 3: t_s: "1": time falls; wanted at least 2`},
		{"t_s,latency_ms,ok,pod_cores\n0,1,1,-2\n", `line 2: pod_cores: "-2"`},
		{"t_s,latency_ms,ok\n\n", "line 2: 1 values; wanted 3"},
	} {
		_, err := Parse(strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v; wanted %q in it", c.text, err, c.want)
		}
	}
}

func TestAllMistakesAreNamedAtOnceButNotWithoutEnd(t *testing.T) {
	_, err := Parse(strings.NewReader("t_s,latency_ms,ok\nx,1,1\n0,y,z\n" + strings.Repeat("?,1,1\n", 100)))
	text := err.Error()
	for _, want := range []string{`line 2: t_s: "x"`, `line 3: latency_ms: "y"`, `ok: "z"`, "line 4"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
	if n := strings.Count(text, "line "); n != mostMistakes {
		t.Errorf("%d mistakes named; wanted %d", n, mostMistakes)
	}
}
