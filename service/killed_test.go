package service

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
)

const (
	// workerVar holds the gateway's address in a process that is a worker.
	workerVar = "PENSTOCK_TEST_WORKER"
	// workerProcesses times workerConnections is how many workers are killed. Many connections share a process, since to start one costs more than all else.
	workerProcesses, workerConnections = 10, 100
	workerReady                        = "reads no more"
)

// workerMain is a worker process: each of its connections reads one picture, and then no more.
func workerMain(t *testing.T, addr string) {
	for range workerConnections {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(64<<10))
		must(t, err)
		s, err := penstockv1.NewTrackServiceClient(conn).StreamTrack(context.Background(), &penstockv1.StreamTrackRequest{
			SessionId: "call", Selector: byParticipant("alice", camera), Policy: &penstockv1.StreamPolicy{MaxQueueMs: 10_000}, // some are kept, however few come
			Format: videoOf(&penstockv1.VideoFormat{AllowRowPadding: true}), // the decoder's own picture
		})
		must(t, err)
		for {
			m, err := s.Recv()
			must(t, err)
			if m.GetVideo() != nil {
				break
			}
		}
	}
	fmt.Println(workerReady)
	select {} // until it is killed
}

// TestF16_WorkersKilledInMidMessage kills (-9) 10 processes with 100 connections each, which are all in the middle of a message, and finds that
// every picture that they held is released: no C memory, no byte in a queue and no stream is left.
func TestF16_WorkersKilledInMidMessage(t *testing.T) {
	if addr := os.Getenv(workerVar); addr != "" {
		workerMain(t, addr)
	}
	g := startGatewayWith(t, media.NewDecodePool(manyWorkers, media.WithRest(-1)))
	g.create("call")
	g.publishStill("call", keyFrame(t, "plain-640x360.ivf"))
	before := media.CMemoryInUse()
	for range workerProcesses {
		g.within(g.killWorkers)
	}
	g.within(func() {
		g.backTo(before)
		g.await(func() bool { return g.decoders.Stats().QueuedBytes == 0 })
	})
}

// within gives a part of a test a hang limit of its own: all of them may be too much for one on a busy machine.
func (g *gateway) within(part func()) {
	whole := g.ctx
	defer func() { g.ctx = whole }()
	var cancel context.CancelFunc
	g.ctx, cancel = context.WithTimeout(context.Background(), hang)
	defer cancel()
	part()
}

// backTo waits, by collecting garbage, until no more C memory is held than before. It may be less: of tests before this one something may have
// been left to the collector.
func (g *gateway) backTo(before media.CMemory) {
	g.t.Helper()
	g.await(func() bool {
		runtime.GC()
		now := media.CMemoryInUse()
		return now.Objects <= before.Objects && now.Bytes <= before.Bytes
	})
}

// killWorkers starts a process of workers, waits until each is in the middle of a message, and kills it.
func (g *gateway) killWorkers() {
	g.t.Helper()
	const picture = 640 * 360 * 3 / 2
	cmd := exec.CommandContext(g.ctx, os.Args[0], "-test.run=^TestF16_WorkersKilledInMidMessage$")
	cmd.Env = append(os.Environ(), workerVar+"="+g.addr)
	out, err := cmd.StdoutPipe()
	must(g.t, err)
	must(g.t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != workerReady {
		if strings.Contains(lines.Text(), "FAIL") {
			g.t.Fatal(lines.Text())
		}
	}
	// What waits behind a message of 345 kB is whole pictures: the window of 64 KiB is full.
	g.await(func() bool { return g.decoders.Stats().QueuedBytes >= 3*workerConnections*picture })
	if n := g.svc.streams.n.Load(); n != workerConnections {
		g.t.Fatalf("%d streams", n)
	}
	must(g.t, cmd.Process.Kill())
	if err := cmd.Wait(); err == nil {
		g.t.Error("the worker ended by itself")
	}
	g.await(func() bool { return g.svc.streams.n.Load() == 0 })
}
