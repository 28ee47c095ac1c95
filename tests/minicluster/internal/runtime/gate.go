package runtime

import (
	"net"
	"time"
)

// gateStep is how often a bare port looks at its script.
const gateStep = 20 * time.Millisecond

// gate is a bare TCP port. A connection is made by the kernel, not by the server, so a script cannot delay it. It opens
// while the script answers healthily, and is closed (refused) while it fails or does not answer.
func (w *workload) gate(address, path string) {
	var ln net.Listener
	shut := func() {
		if ln != nil {
			ln.Close()
			ln = nil
		}
	}
	defer shut()
	tick := time.NewTicker(gateStep)
	defer tick.Stop()
	for first := true; ; first = false {
		if !first {
			select {
			case <-w.alive.Done():
				return
			case <-tick.C:
			}
		}
		a := w.peek(now(), path)
		open := a.Status < 400 && a.MS >= 0
		switch {
		case open && ln == nil:
			l, err := net.Listen("tcp", address)
			if err != nil {
				continue // the address is still held by a connection of before
			}
			ln = l
			go accept(l)
		case !open:
			shut()
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
