package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"minicluster/internal/loopback"
	"minicluster/internal/script"
)

// node is a runtime with a test in the kubelet's place.
type node struct {
	*Runtime
	t      *testing.T
	record *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func newNode(t *testing.T) *node {
	t.Helper()
	block, err := loopback.Claim()
	if err != nil {
		t.Fatal(err)
	}
	record := &safeBuffer{}
	n := &node{New(Options{NodeIP: "127.0.0.1", Pods: block.Pods(0), Traces: t.TempDir(), Record: record}), t, record}
	t.Cleanup(func() { n.Close(); block.Release() })
	return n
}

// checks is how many checks have reached a container.
func (n *node) checks(id string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.containers[id].checks
}

// pod is one sandbox with one container "app".
type pod struct {
	n       *node
	id, ip  string
	cfg     *cri.PodSandboxConfig
	port    containerPort
	attempt uint32
	limit   int64
}

func (n *node) pod(name, text string, port containerPort) *pod {
	n.t.Helper()
	cfg := &cri.PodSandboxConfig{Metadata: &cri.PodSandboxMetadata{Name: name, Namespace: "test", Uid: name},
		LogDirectory: n.t.TempDir(), Annotations: map[string]string{script.AnnotationPrefix + "app": text}}
	run, err := n.RunPodSandbox(context.Background(), &cri.RunPodSandboxRequest{Config: cfg})
	if err != nil {
		n.t.Fatal(err)
	}
	st, err := n.PodSandboxStatus(context.Background(), &cri.PodSandboxStatusRequest{PodSandboxId: run.PodSandboxId})
	if err != nil {
		n.t.Fatal(err)
	}
	return &pod{n: n, id: run.PodSandboxId, ip: st.Status.Network.Ip, cfg: cfg, port: port}
}

func (p *pod) create() (string, error) {
	ports, err := json.Marshal([]containerPort{p.port})
	if err != nil {
		p.n.t.Fatal(err)
	}
	c, err := p.n.CreateContainer(context.Background(), &cri.CreateContainerRequest{PodSandboxId: p.id, Config: &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "app", Attempt: p.attempt}, Image: &cri.ImageSpec{Image: "app:1"}, LogPath: "app.log",
		Annotations: map[string]string{portsAnnotation: string(ports)},
		Linux:       &cri.LinuxContainerConfig{Resources: &cri.LinuxContainerResources{MemoryLimitInBytes: p.limit}}}})
	p.attempt++
	return c.GetContainerId(), err
}

// start makes and starts the container, again and again if called so.
func (p *pod) start() string {
	p.n.t.Helper()
	id, err := p.create()
	if err != nil {
		p.n.t.Fatal(err)
	}
	if _, err := p.n.StartContainer(context.Background(), &cri.StartContainerRequest{ContainerId: id}); err != nil {
		p.n.t.Fatal(err)
	}
	return id
}

func (p *pod) stop(id string, grace int64) *cri.ContainerStatus {
	p.n.t.Helper()
	if _, err := p.n.StopContainer(context.Background(), &cri.StopContainerRequest{ContainerId: id, Timeout: grace}); err != nil {
		p.n.t.Fatal(err)
	}
	return p.status(id)
}

func (p *pod) status(id string) *cri.ContainerStatus {
	p.n.t.Helper()
	st, err := p.n.ContainerStatus(context.Background(), &cri.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		p.n.t.Fatal(err)
	}
	return st.Status
}

// ended waits for the container's own end.
func (p *pod) ended(id string) *cri.ContainerStatus {
	p.n.t.Helper()
	for range 500 {
		if st := p.status(id); st.State == cri.ContainerState_CONTAINER_EXITED {
			return st
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.n.t.Fatal("the container did not end within 5 s")
	return nil
}

func (p *pod) address() string { return net.JoinHostPort(p.ip, fmt.Sprint(p.port.ContainerPort)) }

var web = containerPort{Name: "http", ContainerPort: 8080}

// get is one HTTP check; each makes a connection of its own, as the kubelet's do.
func (p *pod) get(path string, timeout time.Duration) (int, error) {
	c := http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := c.Get("http://" + p.address() + path)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return r.StatusCode, err
}

func wantStatus(t *testing.T, p *pod, path string, want int) {
	t.Helper()
	if code, err := p.get(path, 5*time.Second); code != want || err != nil {
		t.Errorf("%s: %d %v; wanted %d", path, code, err, want)
	}
}

func TestAContainerAnswersOverHTTPAsItsScriptSays(t *testing.T) {
	p := newNode(t).pod("a", `[{"steps":[{"at":0,"ms":0},{"at":0,"ms":30,"status":503,"path":"/slow"}]}]`, web)
	p.start()
	wantStatus(t, p, "/", 200)
	begin := time.Now()
	wantStatus(t, p, "/slow", 503)
	if took := time.Since(begin); took < 30*time.Millisecond {
		t.Errorf("took %s; wanted at least 30 ms", took)
	}
}

func TestAContainerThatHangsAnswersNobodyAndCutsThemOffAtItsEnd(t *testing.T) {
	p := newNode(t).pod("a", `[{"steps":[{"at":0,"ms":-1}]}]`, web)
	id := p.start()
	if _, err := p.get("/", 50*time.Millisecond); !os.IsTimeout(err) {
		t.Errorf("%v; wanted a timeout", err)
	}
	end := make(chan error)
	go func() { _, err := p.get("/", 5*time.Second); end <- err }()
	for p.n.checks(id) < 2 {
		time.Sleep(time.Millisecond)
	}
	p.stop(id, 0)
	if err := <-end; err == nil || os.IsTimeout(err) {
		t.Errorf("%v; wanted the connection cut", err)
	}
	if _, err := p.get("/", time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v; wanted connection refused", err)
	}
}

func TestPortsRefuseUntilTheyOpen(t *testing.T) {
	p := newNode(t).pod("a", `[{"listen_after":0.7}]`, web)
	p.start()
	if _, err := p.get("/", time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v; wanted connection refused", err)
	}
	for range 500 {
		if code, _ := p.get("/", time.Second); code == 200 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the port did not open")
}

func TestARefusalInATraceResetsTheConnection(t *testing.T) {
	n := newNode(t)
	writeTrace(t, n, "refuses.csv", "t_s,latency_ms,ok\n0,1,0\n")
	p := n.pod("a", `[{"trace":"refuses.csv"}]`, web)
	p.start()
	if _, err := p.get("/", time.Second); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v; wanted connection reset by peer", err)
	}
}

func writeTrace(t *testing.T, n *node, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(n.Traces, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheTimeOfATraceGoesOnWhileAContainerRestarts(t *testing.T) {
	n := newNode(t)
	writeTrace(t, n, "turns.csv", "t_s,latency_ms,ok\n0,0,1\n500,60,0\n1000,60,0\n")
	p := n.pod("a", `[{"trace":"turns.csv","offset":0}]`, web)
	id := p.start()
	wantStatus(t, p, "/", 200)
	p.stop(id, 0)
	box := n.sandboxes[p.id]
	box.created = box.created.Add(-500 * time.Second) // as if that much time had passed
	p.start()
	wantStatus(t, p, "/", 503)
}

func TestEachReplicaBeginsATraceAtAPlaceOfItsOwn(t *testing.T) {
	n := newNode(t)
	writeTrace(t, n, "long.csv", "t_s,latency_ms,ok\n0,1,1\n500,2,1\n1000,3,1\n")
	clocks := map[float64]bool{}
	for i := range 10 {
		p := n.pod(fmt.Sprintf("web-%d", i), `[{"trace":"long.csv"}]`, web)
		c := n.containers[p.start()]
		clocks[c.traceClock(c.box.created)] = true
	}
	if len(clocks) != 10 {
		t.Errorf("%d places for 10 pods", len(clocks))
	}
}

func TestAContainerAnswersGRPCChecks(t *testing.T) {
	p := newNode(t).pod("a", `[{"steps":[{"at":0},{"at":0,"path":"grpc:bad","status":500},{"at":0,"path":"grpc:hang","ms":-1}]}]`,
		containerPort{Name: "grpc", ContainerPort: 9090})
	p.start()
	conn, err := grpc.NewClient(p.address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	check := func(service string) string {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		r, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			return status.Code(err).String()
		}
		return r.Status.String()
	}
	for service, want := range map[string]string{"": "SERVING", "bad": "NOT_SERVING", "hang": "DeadlineExceeded"} {
		if got := check(service); got != want {
			t.Errorf("%q: %s, wanted %s", service, got, want)
		}
	}
}

func TestAContainerAnswersExecChecks(t *testing.T) {
	n := newNode(t)
	p := n.pod("a", `[{"steps":[{"at":0},{"at":0,"path":"exec:check bad","status":500},{"at":0,"path":"exec:check hang","ms":-1}]}]`, web)
	id := p.start()
	exec := func(word string) (*cri.ExecSyncResponse, error) {
		return n.ExecSync(context.Background(), &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"check", word}, Timeout: 1})
	}
	if r, err := exec("me"); err != nil || r.ExitCode != 0 {
		t.Errorf("%v %v; wanted exit 0", r, err)
	}
	if r, err := exec("bad"); err != nil || r.ExitCode != 1 {
		t.Errorf("%v %v; wanted exit 1", r, err)
	}
	if _, err := exec("hang"); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v; wanted DeadlineExceeded", err)
	}
}

func TestABarePortOpensShutsAndBlocks(t *testing.T) {
	n := newNode(t)
	p := n.pod("a", `[]`, containerPort{Name: "tcp", ContainerPort: 7070})
	p.start()
	until := func(what, text string, fits func(error) bool) {
		t.Helper()
		if text != "" {
			if found, err := n.Replace("test/a", "app", text); !found || err != nil {
				t.Fatal(found, err)
			}
		}
		var err error
		for range 20 {
			var c net.Conn
			if c, err = net.DialTimeout("tcp", p.address(), 200*time.Millisecond); err == nil {
				c.Close()
			}
			if fits(err) {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("%s: %v", what, err)
	}
	until("open", "", func(err error) bool { return err == nil })
	until("blocked", `[{"steps":[{"at":0,"ms":-1}]}]`, os.IsTimeout)
	until("shut", `[{"steps":[{"at":0,"status":500}]}]`, func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) })
	until("open again", `[]`, func(err error) bool { return err == nil })
}

func TestAContainerEndsAsItsScriptSays(t *testing.T) {
	n := newNode(t)
	for text, want := range map[string]string{
		`[{"exit":{"at":0.01,"code":3}}]`:                        "3 Error",
		`[{"exit":{"at":0.01,"code":0}}]`:                        "0 Completed",
		`[{"exit":{"at":0.01,"code":137,"reason":"OOMKilled"}}]`: "137 OOMKilled",
	} {
		p := n.pod(text, text, web)
		if st := p.ended(p.start()); fmt.Sprint(st.ExitCode, " ", st.Reason) != want {
			t.Errorf("%s: %d %s; wanted %s", text, st.ExitCode, st.Reason, want)
		}
	}
}

func TestMoreMemoryThanTheLimitIsAnOOMKill(t *testing.T) {
	p := newNode(t).pod("a", `[{"usage":[{"at":0,"mem_mi":10},{"at":0.05,"mem_mi":30}]}]`, web)
	p.limit = 20 << 20
	if st := p.ended(p.start()); st.ExitCode != 137 || st.Reason != "OOMKilled" {
		t.Errorf("%d %s", st.ExitCode, st.Reason)
	}
}

func TestAContainerThatIgnoresSIGTERMIsKilledAfterItsGracePeriod(t *testing.T) {
	n := newNode(t)
	p := n.pod("obeys", `[{"stop_ms":20,"stop_code":143}]`, web)
	if st := p.stop(p.start(), 1); st.ExitCode != 143 {
		t.Errorf("%d; wanted 143", st.ExitCode)
	}
	p = n.pod("ignores", `[{"stop_ms":60000}]`, web)
	begin := time.Now()
	if st := p.stop(p.start(), 1); st.ExitCode != 137 || time.Since(begin) < time.Second {
		t.Errorf("%d after %s; wanted 137 after 1 s", st.ExitCode, time.Since(begin))
	}
}

func TestPullsFailAsOftenAsTheScriptSays(t *testing.T) {
	n := newNode(t)
	present := func() bool {
		r, err := n.ImageStatus(context.Background(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: "app:2"}})
		return err == nil && r.Image != nil
	}
	p := n.pod("a", `[{"pull":{"image":"app:2","fails":1,"error":"the registry is away"}}]`, web)
	pull := func(image string) error {
		_, err := n.PullImage(context.Background(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: image}, SandboxConfig: p.cfg})
		return err
	}
	if err := pull("other:1"); err != nil {
		t.Error(err)
	}
	if err := pull("app:2"); err == nil || !strings.Contains(err.Error(), "the registry is away") || present() {
		t.Errorf("%v", err)
	}
	if err := pull("app:2"); err != nil || !present() {
		t.Errorf("%v", err)
	}
}

func TestAScriptThatCannotBeReadStopsTheContainerFromBeingMade(t *testing.T) {
	n := newNode(t)
	for text, want := range map[string]string{`{`: "annotation minicluster.probe-tuner.io/app: script:", `[{"trace":"gone.csv"}]`: "gone.csv"} {
		if _, err := n.pod(text, text, web).create(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; wanted %q", text, err, want)
		}
	}
}

func TestAReplacedScriptCountsFromNowAndUsageNeverFalls(t *testing.T) {
	n := newNode(t)
	p := n.pod("a", `[{"usage":[{"at":0,"cpu_m":100000,"mem_mi":5}]}]`, web)
	id := p.start()
	time.Sleep(20 * time.Millisecond)
	used := func() uint64 {
		r, err := n.ListContainerStats(context.Background(), &cri.ListContainerStatsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return r.Stats[0].Cpu.UsageCoreNanoSeconds.Value
	}
	before := used()
	if found, err := n.Replace("test/a", "app", `[{"steps":[{"at":0,"status":500}]},{"steps":[{"at":0,"status":501}]}]`); !found || err != nil {
		t.Fatal(found, err)
	}
	if after := used(); after < before {
		t.Errorf("%d fell to %d", before, after)
	}
	wantStatus(t, p, "/", 500)
	p.stop(id, 0)
	p.start()
	wantStatus(t, p, "/", 501)
	if found, err := n.Replace("test/b", "app", `[]`); found || err != nil {
		t.Errorf("%v %v; wanted no such pod", found, err)
	}
}

func TestPodsHaveAddressesOfTheirOwnAndGiveThemBack(t *testing.T) {
	n := newNode(t)
	a, b := n.pod("a", "", web), n.pod("b", "", web)
	if a.ip == b.ip {
		t.Errorf("both %s", a.ip)
	}
	if _, err := n.StopPodSandbox(context.Background(), &cri.StopPodSandboxRequest{PodSandboxId: a.id}); err != nil {
		t.Fatal(err)
	}
	if c := n.pod("c", "", web); c.ip != a.ip {
		t.Errorf("%s; wanted %s, which is free again", c.ip, a.ip)
	}
}

func TestTheRecordTellsWhatTheContainersSaw(t *testing.T) {
	n := newNode(t)
	p := n.pod("a", `[{"stop_code":143}]`, web)
	id := p.start()
	wantStatus(t, p, "/healthz", 200)
	p.stop(id, 5)
	var kinds []string
	for line := range strings.Lines(n.record.b.String()) {
		var e struct {
			Ev, Pod, Path, End, Reason string
			Code                       int
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Pod != "test/a" {
			t.Errorf("pod %q", e.Pod)
		}
		kinds = append(kinds, strings.Join(strings.Fields(fmt.Sprint(e.Ev, " ", e.Path, " ", e.End, " ", e.Reason)), " "))
	}
	if got := strings.Join(kinds, "; "); got != "start; request /healthz answered; stop; end Error" {
		t.Error(got)
	}
}
