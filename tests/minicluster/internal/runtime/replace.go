package runtime

import (
	"fmt"

	"minicluster/internal/script"
)

// Replace gives a container of a pod a new script. If the container runs, the first behaviour counts from now on, with
// clocks that begin now, until the container's next start; then the next one. If it does not, the first behaviour is
// that of its next start. The pod is named NAMESPACE/NAME; false: it is not on this node.
func (r *Runtime) Replace(pod, name, text string) (found bool, err error) {
	s, err := script.Parse(text)
	if err != nil {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var box *sandbox
	for _, b := range r.sandboxes {
		if b.ready && b.pod() == pod {
			box = b
		}
	}
	if box == nil {
		return false, nil
	}
	last := r.lastStart(box, name)
	if last == nil {
		return true, fmt.Errorf("pod %s has no container %s yet", pod, name)
	}
	if last.work == nil || last.work.alive.Err() != nil {
		box.replaced[name] = replacement{s, last.start() + 1}
		return true, nil
	}
	play, err := r.prepare(s.At(0))
	if err != nil {
		return true, err
	}
	box.replaced[name] = replacement{s, last.start()}
	t := now()
	last.cpuBefore, _ = last.used(t)
	last.cfsBefore[0], last.cfsBefore[1] = last.cfs(t)
	last.play, last.base, last.checks = play, t, 0
	r.endByScript(last)
	return true, nil
}

func (r *Runtime) lastStart(b *sandbox, name string) (last *container) {
	for _, c := range r.containers {
		if c.box == b && c.name() == name && (last == nil || c.start() > last.start()) {
			last = c
		}
	}
	return last
}
