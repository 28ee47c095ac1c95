package runtime

import (
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"

	"minicluster/internal/trace"
)

// event is a line of the record.
type event map[string]any

// mostRecorded bounds a node's record: 200 checks a second fill it in an hour and a half. The last line then says so.
const mostRecorded = 256 << 20

// recorder writes what the containers saw.
type recorder struct {
	mu      sync.Mutex
	w       io.Writer
	written int
}

func (r *recorder) put(e event) {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // an event holds strings and numbers only
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.written > mostRecorded {
		return
	}
	r.written += len(b) + 1
	if r.written > mostRecorded {
		b = []byte(`{"ev":"full"}`)
	}
	r.w.Write(append(b, '\n')) // a full disk shows in every other file of the cluster, too
}

// traceCache holds each trace once, however many containers play it; a changed file is read again.
type traceCache struct {
	mu    sync.Mutex
	files map[string]cachedTrace
}

type cachedTrace struct {
	trace   *trace.Trace
	changed time.Time
	size    int64
}

func (c *traceCache) load(path string) (*trace.Trace, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.files[path]; ok && old.changed.Equal(info.ModTime()) && old.size == info.Size() {
		return old.trace, nil
	}
	t, err := trace.Load(path)
	if err != nil {
		return nil, err
	}
	if c.files == nil {
		c.files = map[string]cachedTrace{}
	}
	c.files[path] = cachedTrace{t, info.ModTime(), info.Size()}
	return t, nil
}
