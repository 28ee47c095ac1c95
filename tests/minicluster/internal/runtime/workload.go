package runtime

import (
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"minicluster/internal/script"
)

// workload is the living part of a container: its listeners. The runtime's lock guards it.
type workload struct {
	r     *Runtime
	c     *container
	ip    string
	wants []containerPort
	open  []io.Closer
	alive context.Context // ends with the container
	kill  context.CancelFunc
}

func newWorkload(r *Runtime, c *container, ip string, ports []containerPort) *workload {
	w := &workload{r: r, c: c, ip: ip, wants: ports}
	w.alive, w.kill = context.WithCancel(context.Background())
	return w
}

// listen opens the container's ports. What speaks there follows from the port's name: grpc… is the gRPC health service,
// tcp… a bare port (gate), anything else HTTP. The caller holds the lock.
func (w *workload) listen() error {
	if w.alive.Err() != nil {
		return nil // ended before its ports opened
	}
	for _, p := range w.wants {
		if p.Protocol != "" && p.Protocol != "TCP" {
			continue
		}
		address := net.JoinHostPort(w.ip, strconv.Itoa(p.ContainerPort))
		if strings.HasPrefix(p.Name, "tcp") {
			path := "tcp:" + strconv.Itoa(p.ContainerPort)
			g := &gate{address: address, due: func() script.Answer { return w.peek(path) }}
			w.open = append(w.open, g)
			go g.follow(w.alive.Done())
			continue
		}
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		w.open = append(w.open, ln)
		if strings.HasPrefix(p.Name, "grpc") {
			s := grpc.NewServer()
			healthpb.RegisterHealthServer(s, &health{w: w})
			go s.Serve(ln)
			context.AfterFunc(w.alive, s.Stop)
			continue
		}
		s := &http.Server{Handler: w, BaseContext: func(net.Listener) context.Context { return w.alive },
			ErrorLog: log.New(io.Discard, "", 0)} // its complaints are about clients that went, which is the kubelet's right
		go s.Serve(ln)
		context.AfterFunc(w.alive, func() { s.Close() })
	}
	return nil
}

// close shuts every port at once: a connection that comes later is refused. The caller holds the lock.
func (w *workload) close() {
	w.kill()
	for _, p := range w.open {
		p.Close()
	}
}

// stepClock is the time in seconds by which steps are due.
func (c *container) stepClock(t time.Time) float64 {
	if c.play.Epoch > 0 {
		return unix(t) - c.play.Epoch
	}
	return t.Sub(c.base).Seconds()
}

// traceClock is a moment's place in the trace, in seconds from the trace's first start. It counts from the start of the
// pod, so it goes on while a container restarts, and begins at an offset that is the pod's own.
func (c *container) traceClock(t time.Time) float64 {
	play := c.play
	switch {
	case play.Recording == nil:
		return 0
	case play.Epoch > 0 && play.Offset != nil:
		return unix(t) - play.Epoch + *play.Offset
	case play.Epoch > 0:
		return unix(t) - play.Epoch
	case play.Offset != nil:
		return t.Sub(c.box.created).Seconds() + *play.Offset
	}
	return t.Sub(c.box.created).Seconds() + script.Offset(c.box.pod(), play.Recording.Period())
}

// due is what the script says for a check that starts now, and the check's number.
func (w *workload) due(t time.Time, path string) (script.Answer, int) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	c := w.c
	n := c.checks
	c.checks++
	return c.play.Answer(n, c.stepClock(t), c.traceClock(t), path), n
}

// peek is what the script says of a port now, no check being counted.
func (w *workload) peek(path string) script.Answer {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	c, t := w.c, now()
	return c.play.Answer(noCheck, c.stepClock(t), c.traceClock(t), path)
}

// answer takes as long as the script says and tells what to say; false when the client or the container went first.
// The headers are those of an HTTP request.
func (w *workload) answer(ctx context.Context, kind, path string, headers http.Header) (script.Answer, bool) {
	begin := now()
	a, n := w.due(begin, path)
	var answered <-chan time.Time
	if a.MS >= 0 {
		answered = time.After(milliseconds(a.MS))
	}
	end := "answered"
	select {
	case <-answered:
	case <-w.alive.Done():
		end = "container ended"
	case <-ctx.Done():
		end = "client gone"
		if w.alive.Err() != nil {
			end = "container ended"
		}
	}
	e := w.c.event("request", begin)
	delete(e, "id")
	e["kind"], e["path"], e["n"], e["script_ms"], e["status"], e["end"] = kind, path, n, a.MS, a.Status, end
	e["since_start_ms"], e["took_ms"] = begin.Sub(w.c.started).Seconds()*1e3, now().Sub(begin).Seconds()*1e3
	if a.Refused {
		e["refused"] = true
	}
	if headers != nil {
		e["agent"], e["headers"] = headers.Get("User-Agent"), slices.Sorted(maps.Keys(headers))
	}
	w.r.record.put(e)
	return a, end == "answered"
}

// ServeHTTP is the container's web server.
func (w *workload) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	a, answered := w.answer(r.Context(), "http", r.URL.Path, r.Header)
	switch {
	case !answered:
		panic(http.ErrAbortHandler) // closes the connection without a word
	case a.Refused:
		reset(rw)
	default:
		rw.WriteHeader(a.Status)
		fmt.Fprintf(rw, "%d\n", a.Status)
	}
}

// reset ends a request's connection as a server does that refuses: the client reads "connection reset by peer".
func reset(rw http.ResponseWriter) {
	conn, _, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// health is the container's gRPC health service.
type health struct {
	healthpb.UnimplementedHealthServer
	w *workload
}

// Check answers the kubelet's gRPC probes.
func (h *health) Check(ctx context.Context, q *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	a, answered := h.w.answer(ctx, "grpc", "grpc:"+q.Service, nil)
	switch {
	case !answered:
		return nil, context.Canceled
	case a.Refused:
		return nil, status.Error(codes.Unavailable, "refused by script")
	case a.Status >= 400:
		return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}, nil
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}
