// Package loopback gives each cluster of this machine room of its own: a /16 of 127.0.0.0/8 for pods and a run of ports.
// A room is locked by an abstract unix socket. That lock belongs to the network namespace, just as the addresses do; it
// leaves no file, and the kernel lifts it when its holder dies.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
)

const (
	// First and last second byte of a block: 127.0 is where everybody else lives.
	firstBlock, lastBlock = 1, 254
	// Ports lie below the range that Linux gives to outgoing connections (32768 and up), or else one of those might take
	// a port between the choice and the listening.
	firstPort, portsPerBlock = 20000, 47
	// MostNodes is how many nodes a block has addresses for: 2,046 pods each.
	MostNodes = 32
)

// Block is one cluster's room, held until Release or the end of the process.
type Block struct {
	number int
	lock   net.Listener
	next   int
}

// Claim takes a free block, begun at random so that a block that was just left is seldom the next.
func Claim() (*Block, error) {
	n := lastBlock - firstBlock + 1
	begin := rand.IntN(n)
	for i := range n {
		b, err := claim(firstBlock + (begin+i)%n)
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("all %d blocks of 127.0.0.0/8 are taken by other clusters of this machine", n)
}

func claim(number int) (*Block, error) {
	lock, err := net.Listen("unix", fmt.Sprintf("@minicluster/127.%d", number))
	if err != nil {
		return nil, err
	}
	return &Block{number: number, lock: lock}, nil
}

// Release gives the block back.
func (b *Block) Release() { b.lock.Close() }

// Pods are the addresses of one node's pods; node is 0 to MostNodes-1.
func (b *Block) Pods(node int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{127, byte(b.number), byte(node * 8), 0}), 21)
}

// Port is a port of the block that nobody listens on, another one at each call. Other clusters do not choose from the
// block; another program may, hence the look.
func (b *Block) Port() (int, error) {
	for b.next < portsPerBlock {
		port := firstPort + (b.number-firstBlock)*portsPerBlock + b.next
		b.next++
		ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			continue
		}
		ln.Close()
		return port, nil
	}
	return 0, fmt.Errorf("no free port left of %d to %d", firstPort+(b.number-firstBlock)*portsPerBlock,
		firstPort+(b.number-firstBlock+1)*portsPerBlock-1)
}
