package runtime

import (
	"math"
	"net"
	"sync"
	"syscall"
	"time"

	"minicluster/internal/script"
)

// gate is a bare TCP port. Connections are made by the kernel and not by the server, so a script cannot delay one by so
// many milliseconds; it opens, closes and blocks the port instead, as servers do for whom nobody answers.
type gate struct {
	address string
	due     func() script.Answer

	mu    sync.Mutex
	state gateState
	ln    net.Listener
	// filler takes the one place in the queue of a blocked port.
	filler net.Conn
	closed bool
}

type gateState int

const (
	gateShut    gateState = iota // refuses: the script fails
	gateOpen                     // accepts: the script succeeds
	gateBlocked                  // the kernel drops what comes, as for a server whose queue is full: the script does not answer
)

const (
	// gateStep is how often a gate looks at its script.
	gateStep = 20 * time.Millisecond
	// blockedFromMS is the latency that counts as no answer. A client tries again a second after its first packet was
	// dropped, so a blocked port cannot be answered sooner.
	blockedFromMS = 1000
)

func wanted(a script.Answer) gateState {
	switch {
	case a.MS < 0, a.MS >= blockedFromMS && a.Status < 400:
		return gateBlocked
	case a.Status >= 400:
		return gateShut
	}
	return gateOpen
}

// step brings the port into the state that the script wants now.
func (g *gate) step() error {
	want := wanted(g.due())
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || want == g.state {
		return nil
	}
	g.shut()
	if want == gateShut {
		return nil
	}
	ln, err := net.Listen("tcp", g.address)
	if err != nil {
		return err
	}
	g.ln = ln
	if want == gateOpen {
		go accept(ln)
	} else if err := g.block(); err != nil {
		g.shut()
		return err
	}
	g.state = want
	return nil
}

// block fills the port's queue, which is made as short as the kernel lets it be: for one connection.
func (g *gate) block() error {
	raw, err := g.ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), 0) }); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	g.filler, err = net.Dial("tcp", g.address)
	return err
}

// shut closes the port. The caller holds the lock.
func (g *gate) shut() {
	if g.filler != nil {
		g.filler.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: the port is wanted again
		g.filler.Close()
		g.filler = nil
	}
	if g.ln != nil {
		g.ln.Close()
		g.ln = nil
	}
	g.state = gateShut
}

// Close shuts the port for good.
func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut()
	g.closed = true
	return nil
}

// follow keeps the port in step with the script until the channel closes. A port that cannot be had now is tried again.
func (g *gate) follow(end <-chan struct{}) {
	tick := time.NewTicker(gateStep)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
			_ = g.step()
		}
	}
}

// accept takes connections and lets them go.
func accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

// noCheck is the number of a look that is no check: it is after everything queued.
const noCheck = math.MaxInt
