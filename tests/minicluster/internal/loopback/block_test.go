package loopback

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func mustClaim(t *testing.T) *Block {
	t.Helper()
	b, err := Claim()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Release)
	return b
}

func TestTwoBlocksShareNoAddressAndNoPort(t *testing.T) {
	a, b := mustClaim(t), mustClaim(t)
	if a.Pods(0).Overlaps(b.Pods(0)) {
		t.Errorf("%s and %s", a.Pods(0), b.Pods(0))
	}
	ports := map[int]bool{}
	for _, block := range []*Block{a, b} {
		for range 40 {
			p, err := block.Port()
			if err != nil {
				t.Fatal(err)
			}
			if ports[p] || p < 20000 || p > 31999 {
				t.Errorf("port %d", p)
			}
			ports[p] = true
		}
	}
}

func TestTheNodesOfABlockShareNoAddress(t *testing.T) {
	b := mustClaim(t)
	for i := range MostNodes {
		for j := range i {
			if b.Pods(i).Overlaps(b.Pods(j)) {
				t.Fatalf("nodes %d and %d: %s", i, j, b.Pods(i))
			}
		}
		if p := b.Pods(i); p.Masked() != p || !strings.HasPrefix(p.String(), "127.") {
			t.Fatal(p)
		}
	}
}

func TestAPortThatSomebodyListensOnIsLeftOut(t *testing.T) {
	b := mustClaim(t)
	p, err := b.Port()
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(p+1)))
	if err != nil {
		t.Skip("another program has it")
	}
	defer taken.Close()
	if q, err := b.Port(); err != nil || q == p+1 {
		t.Errorf("%d %v", q, err)
	}
}

func TestABlockIsTakenUntilItIsReleased(t *testing.T) {
	b := mustClaim(t)
	if _, err := claim(b.number); err == nil {
		t.Fatal("two holders")
	}
	b.Release()
	again, err := claim(b.number)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}

// TestHolder is no test but the process that dies in the next one.
func TestHolder(t *testing.T) {
	if os.Getenv("LOOPBACK_HOLDER") == "" {
		t.Skip("started by another test")
	}
	b, err := Claim()
	if err != nil {
		t.Fatal(err)
	}
	// The collector closes a lock that nothing refers to any more.
	defer b.Release()
	os.Stdout.WriteString("holds " + strconv.Itoa(b.number) + "\n")
	time.Sleep(time.Hour)
}

func TestTheDeathOfItsHolderFreesABlock(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=TestHolder")
	cmd.Env = append(os.Environ(), "LOOPBACK_HOLDER=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line [64]byte
	n, err := out.Read(line[:])
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(string(line[:n])), "holds "))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := claim(number); err == nil {
		t.Fatal("two holders")
	}
	cmd.Process.Kill()
	cmd.Wait()
	b, err := claim(number)
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
}
