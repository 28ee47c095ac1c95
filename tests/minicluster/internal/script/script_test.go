package script

import (
	"math"
	"strings"
	"testing"

	"minicluster/internal/trace"
)

func parse(t *testing.T, text string) Script {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func play(t *testing.T, text, recording string) *Play {
	t.Helper()
	p := &Play{Behaviour: parse(t, text).At(0)}
	if recording != "" {
		r, err := trace.Parse(strings.NewReader(recording))
		if err != nil {
			t.Fatal(err)
		}
		p.Recording = r
	}
	return p
}

func TestWithoutAScriptEveryCheckIsAnsweredAtOnce(t *testing.T) {
	for _, text := range []string{"", "  ", "[]", "[{}]"} {
		if a := play(t, text, "").Answer(0, 0, 0, "/"); a != (Answer{Status: 200}) {
			t.Errorf("%q: %+v", text, a)
		}
	}
}

func TestEachStartHasABehaviourAndTheLastRepeats(t *testing.T) {
	s := parse(t, `[{"stop_code":1},{"stop_code":2}]`)
	for start, want := range []int32{1, 2, 2, 2} {
		if got := s.At(start).StopCode; got != want {
			t.Errorf("start %d: %d, wanted %d", start, got, want)
		}
	}
}

func TestTheLastDueStepWhosePathFitsAnswers(t *testing.T) {
	p := play(t, `[{"steps":[{"at":0,"ms":10},{"at":5,"ms":20,"path":"/a"},{"at":9,"ms":-1,"status":503}]}]`, "")
	for _, c := range []struct {
		at   float64
		path string
		want Answer
	}{
		{0, "/a", Answer{MS: 10, Status: 200}}, {5, "/a", Answer{MS: 20, Status: 200}}, {8.9, "/b", Answer{MS: 10, Status: 200}},
		{9, "/a", Answer{MS: -1, Status: 503}}, {1e6, "grpc:", Answer{MS: -1, Status: 503}},
	} {
		if got := p.Answer(0, c.at, 0, c.path); got != c.want {
			t.Errorf("at %v %s: %+v, wanted %+v", c.at, c.path, got, c.want)
		}
	}
}

func TestTheQueueComesBeforeTheSteps(t *testing.T) {
	p := play(t, `[{"queue":[7,-1],"steps":[{"at":0,"ms":10}]}]`, "")
	for n, want := range []float64{7, -1, 10, 10} {
		if got := p.Answer(n, 0, 0, "/").MS; got != want {
			t.Errorf("check %d: %v ms, wanted %v", n, got, want)
		}
	}
}

const recorded = "t_s,latency_ms,ok,pod_cores\n0,15,1,0.5\n1,3,0,0.5\n2,900,0,0.5\n3,,0,0.5\n"

func TestATraceAnswersWhereNoStepIsDue(t *testing.T) {
	p := play(t, `[{"trace":"x","steps":[{"at":100,"ms":-1}]}]`, recorded)
	for _, c := range []struct {
		step, trace float64
		want        Answer
	}{
		{0, 0, Answer{MS: 15, Status: 200}},
		{0, 1, Answer{MS: 3, Status: 503, Refused: true}},
		{0, 2, Answer{MS: 900, Status: 503}},
		{0, 3, Answer{MS: -1, Status: 503}},
		{0, 4, Answer{MS: 15, Status: 200}}, // the next round
		{100, 0, Answer{MS: -1, Status: 200}},
	} {
		if got := p.Answer(0, c.step, c.trace, "/"); got != c.want {
			t.Errorf("steps at %v, trace at %v: %+v, wanted %+v", c.step, c.trace, got, c.want)
		}
	}
}

func TestPodsBeginATraceAtPlacesOfTheirOwnEvenlySpread(t *testing.T) {
	quarters := [4]int{}
	for i := range 4000 {
		at := Offset("shop/web-"+string(rune('a'+i%26))+"-"+strings.Repeat("x", i/26%7)+string(rune('0'+i%10))+string(rune('A'+i/182)), 720)
		if at < 0 || at >= 720 {
			t.Fatal(at)
		}
		quarters[int(at/180)]++
	}
	for _, n := range quarters {
		if n < 850 || n > 1150 {
			t.Fatalf("not even: %v", quarters)
		}
	}
	if Offset("shop/web-0", 720) != Offset("shop/web-0", 720) || Offset("shop/web-0", 720) == Offset("shop/web-1", 720) {
		t.Error("an offset is the pod's own")
	}
}

func TestUsageIsTheSumOfItsStepsAndALittle(t *testing.T) {
	p := play(t, `[{"usage":[{"at":0,"cpu_m":100,"mem_mi":64},{"at":10,"cpu_m":1000,"mem_mi":128}]}]`, "")
	for _, c := range []struct{ at, cores, mi float64 }{{0, 0, 64}, {10, 1, 128}, {20, 11, 128}} {
		cpu, mem := p.Used(c.at, 0)
		if math.Abs(float64(cpu)/1e9-c.cores-leastCores*c.at) > 1e-6 || mem != uint64(c.mi)<<20 {
			t.Errorf("at %v: %v ns, %v B", c.at, cpu, mem)
		}
	}
}

func TestATraceFeedsTheCPUFromWhereItsPodBegan(t *testing.T) {
	cpu, _ := play(t, `[{"trace":"x"}]`, recorded).Used(10, 2)
	if want := 10 * (0.5 + leastCores); math.Abs(float64(cpu)/1e9-want) > 1e-6 {
		t.Errorf("%v ns, wanted %v s", cpu, want)
	}
}

func TestThrottledPeriodsAreTheSumOfTheStepsShares(t *testing.T) {
	p := play(t, `[{"usage":[{"at":0,"throttled":0.5},{"at":60,"throttled":0},{"at":120,"throttled":1}]}]`, "")
	for seconds, want := range map[float64][2]uint64{0: {0, 0}, 30: {300, 150}, 100: {1000, 300}, 130: {1300, 400}} {
		if periods, throttled := p.CFS(seconds); periods != want[0] || throttled != want[1] {
			t.Errorf("after %v s: %d of %d; wanted %d of %d", seconds, throttled, periods, want[1], want[0])
		}
	}
}

func TestUsageIsNeverZeroSoThatMetricsServerCountsThePod(t *testing.T) {
	for _, text := range []string{`[]`, `[{"usage":[{"at":0}]}]`, `[{"usage":[{"at":99,"cpu_m":1,"mem_mi":1}]}]`} {
		if cpu, mem := play(t, text, "").Used(1, 0); cpu == 0 || mem == 0 {
			t.Errorf("%s: %d ns, %d B", text, cpu, mem)
		}
	}
}

func TestALimitIsExceededWhenAStepOfMemoryPassesIt(t *testing.T) {
	p := play(t, `[{"usage":[{"at":0,"mem_mi":64},{"at":7,"mem_mi":129}]}]`, "")
	for limit, want := range map[int64]float64{128 << 20: 7, 1 << 20: 0} {
		if at, ever := p.Exceeds(limit); !ever || at != want {
			t.Errorf("limit %d: %v %v", limit, at, ever)
		}
	}
	for _, limit := range []int64{0, 129 << 20} {
		if at, ever := p.Exceeds(limit); ever {
			t.Errorf("limit %d: %v", limit, at)
		}
	}
}

func TestEveryMistakeInAScriptIsNamedWithItsPlaceAndValue(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                               "wanted a JSON list",
		`[{"step":[]}]`:                    `unknown field "step"`,
		`[{}] x`:                           "more text after the list",
		`[{},{"stop_ms":-1}]`:              "[1].stop_ms: -1; wanted a number not below 0",
		`[{"offset":3}]`:                   "[0].offset: there is no trace",
		`[{"stop_code":256}]`:              "[0].stop_code: 256; wanted 0 to 255",
		`[{"exit":{"at":-2}}]`:             "[0].exit.at: -2",
		`[{"exit":{"code":-1}}]`:           "[0].exit.code: -1; wanted 0 to 255",
		`[{"steps":[{"at":5},{"at":4}]}]`:  "[0].steps[1].at: 4; wanted at least 5",
		`[{"steps":[{"status":20}]}]`:      "[0].steps[0].status: 20; wanted 200 to 599",
		`[{"usage":[{"at":5},{"at":4}]}]`:  "[0].usage[1].at: 4",
		`[{"usage":[{"cpu_m":-4}]}]`:       "[0].usage[0].cpu_m: -4",
		`[{"usage":[{"throttled":1.1}]}]`:  "[0].usage[0].throttled: 1.1",
		`[{"listen_after":-1,"epoch":-1}]`: "listen_after: -1",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; wanted %q in it", text, err, want)
		}
	}
}
