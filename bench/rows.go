package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// group is rows that are measured together, since they share measurements.
type group struct {
	ids     []string
	measure func(context.Context) []row
}

// groups are all that can be measured, in the order of the table.
func (b *bench) groups() []group {
	return []group{
		{[]string{"X1", "X2"}, b.pictures},
		{[]string{"X3"}, b.audio},
		{[]string{"X4"}, b.furtherConsumers},
		{[]string{"X5"}, b.stills},
		{[]string{"X6"}, b.nobody},
		{[]string{"X7"}, b.delay},
		{[]string{"X8"}, b.manyTracks},
		{[]string{"X9"}, b.otherCodecs},
		{[]string{"X11"}, b.forwarded},
		{[]string{"takeover"}, b.takeOver},
		{[]string{"telemetry"}, b.told},
		{[]string{"X10", "X12", "LiveKit"}, b.elsewhere},
	}
}

// fourCameras is the load of X1.
func fourCameras() load { return load{kind: "video", sessions: 1, tracks: 4} }

// microphones is an audio load in sessions of ten tracks.
func microphones(tracks int) load { return load{kind: "audio", sessions: tracks / 10, tracks: 10} }

// delivers is the gateway under a load.
func (b *bench) delivers(ctx context.Context, l load) func() (sample, error) {
	return func() (sample, error) { return b.throughGateway(ctx, b.gateway, l) }
}

// pictures measures X1 and X2.
func (b *bench) pictures(ctx context.Context) []row {
	four := fourCameras()
	o := b.inTurn([]measurement{
		{"paced bare decode", func() (sample, error) { return b.pacedDecode(ctx, four) }},
		{"the gateway, video", b.delivers(ctx, four)},
		{"aiortc, video", func() (sample, error) { return b.throughAiortc(ctx, four) }},
		{"the bare sender", func() (sample, error) { return b.bareSend(ctx, four) }},
	})
	decode, gateway, aiortc, bare := o[0], o[1], o[2], o[3]
	return []row{
		compare("X1", "4 x 720p30 VP8 to I420 / paced bare decode", 1.15, gateway, decode),
		compare("X2", "4 x 720p30 VP8 to I420 / aiortc, nothing delivered", 0.65, gateway, aiortc),
		plain("aiortc, 4 x 720p30 VP8: its value alone", aiortc),
		plain("the same pictures, made before and only written to a TCP connection: its value alone", bare),
	}
}

// audio measures X3.
func (b *bench) audio(ctx context.Context) []row {
	o := b.inTurn([]measurement{
		{"the gateway, audio", b.delivers(ctx, microphones(100))},
		{"aiortc, audio", func() (sample, error) { return b.throughAiortc(ctx, microphones(10)) }},
	})
	gateway, aiortc := o[0], o[1]
	return []row{
		compare("X3", "100 x Opus to 16 kHz mono / aiortc with 10", 0.17, gateway, aiortc),
		plain("aiortc, 10 x Opus: its value alone", aiortc),
	}
}

// furtherConsumers measures X4: what two consumers more cost, by two.
func (b *bench) furtherConsumers(ctx context.Context) []row {
	const all = 3
	one, three := fourCameras(), fourCameras()
	three.consumers = all
	o := b.inTurn([]measurement{{"one consumer of each track", b.delivers(ctx, one)}, {"three consumers of each track", b.delivers(ctx, three)}})
	further := o[1]
	further.sample.cpu -= time.Duration(float64(o[0].sample.perFrame()) * float64(further.sample.frames) / all)
	further.sample.frames -= further.sample.frames / all
	further.sample.rate *= float64(all-1) / all
	return []row{compare("X4", "a further consumer of a picture / the first", 0.15, further, o[0])}
}

// stills measures X5. The reference decodes too, and gives a picture of next to no size.
func (b *bench) stills(ctx context.Context) []row {
	jpeg, glance := fourCameras(), fourCameras()
	jpeg.format, glance.format = "jpeg", "glance"
	o := b.inTurn([]measurement{
		{"one JPEG a second", func() (sample, error) { return b.received(ctx, jpeg, true) }},
		{"receive and decode", func() (sample, error) { return b.received(ctx, glance, true) }},
	})
	return []row{compare("X5", "640x360 JPEG once a second of 720p30 / receive and decode", 1.05, o[0], o[1])}
}

// nobody measures X6.
func (b *bench) nobody(ctx context.Context) []row {
	four := fourCameras()
	o := b.inTurn([]measurement{
		{"the gateway without a consumer", func() (sample, error) { return b.received(ctx, four, false) }},
		{"pion alone", func() (sample, error) { return b.throughPion(ctx, four) }},
	})
	const few, many, budget = 4, 24, 6.0
	memory := row{ID: "X6", What: "resident memory of a further video track without a consumer, MB", Budget: budget}
	small, err := b.resident(ctx, load{kind: "video", sessions: 1, tracks: few})
	large := int64(0)
	if err == nil {
		large, err = b.resident(ctx, load{kind: "video", sessions: many / few, tracks: few})
	}
	if err != nil {
		memory.Missing = err.Error()
	} else {
		memory.Value, memory.Reference = fmt.Sprintf("%d: %.0f MB", many, float64(large)/1e6), fmt.Sprintf("%d: %.0f MB", few, float64(small)/1e6)
		memory.judge(float64(large-small) / (many - few) / 1e6)
	}
	return []row{compare("X6", "4 x 720p30 VP8 without a consumer / pion receives alone", 1.1, o[0], o[1]), memory}
}

// delay measures X7 at the worker, which is later than the hand-over to the transport, and takes the mean decode off.
func (b *bench) delay(ctx context.Context) []row {
	half := load{kind: "video", sessions: 2, tracks: 4}
	o := b.inTurn([]measurement{{"paced bare decode", func() (sample, error) { return b.pacedDecode(ctx, fourCameras()) }}})
	fmt.Fprintf(b.log, "measuring delays for %v\n", b.window.warmUp+b.window.measured)
	median, late, err := b.delays(ctx, half)
	if err == nil {
		err = o[0].err
	}
	rows := []row{
		{ID: "X7", What: "8 x 720p30: last packet in -> at the worker, less the mean decode, median, ms", Budget: 4},
		{ID: "X7", What: "the same, 99th percentile, ms", Budget: 10},
	}
	for i, d := range []time.Duration{median, late} {
		if err != nil {
			rows[i].Missing = err.Error()
			continue
		}
		decode := o[0].sample.perFrame()
		rows[i].Value, rows[i].Reference = milliseconds(d), milliseconds(decode)
		rows[i].judge(float64(d-decode) / float64(time.Millisecond))
	}
	return rows
}

// manyTracks measures X8.
func (b *bench) manyTracks(ctx context.Context) []row {
	o := b.inTurn([]measurement{
		{"200 audio tracks", b.delivers(ctx, microphones(200))},
		{"20 audio tracks", b.delivers(ctx, microphones(20))},
	})
	return []row{
		compare("X8", "a frame of 200 x Opus / one of 20 x Opus", 1, o[0], o[1]),
		{ID: "X8", What: "memory of an idle session", Missing: "go test -run '^$' -bench X8_Idle -benchtime 1x ./rtcpool"},
	}
}

// otherCodecs measures X9.
func (b *bench) otherCodecs(ctx context.Context) []row {
	var rows []row
	for _, r := range recipes() {
		what := "2 x " + r.name[:len(r.name)-len(filepath.Ext(r.name))] + " to I420 / paced bare decode"
		file, err := r.make(ctx, b.clip, b.cache)
		if err != nil {
			rows = append(rows, row{ID: "X9", What: what, Budget: 1.15, Missing: err.Error()})
			continue
		}
		l := load{kind: "video", sessions: 1, tracks: 2, file: file}
		o := b.inTurn([]measurement{
			{"paced bare decode of " + r.name, func() (sample, error) { return b.pacedDecode(ctx, l) }},
			{"the gateway, " + r.name, b.delivers(ctx, l)},
			{"the bare sender", func() (sample, error) { return b.bareSend(ctx, l) }},
		})
		rows = append(rows, compare("X9", what, 1.15, o[1], o[0]), plain("its pictures only written to a TCP connection: its value alone", o[2]))
	}
	return rows
}

// elsewhere names what this program does not measure.
func (b *bench) elsewhere(context.Context) []row {
	return []row{
		{ID: "X10", What: "resolve over Redis", Missing: "go test -run '^$' -bench 'X10_Rel|AtRest' -benchtime 1000x ./resolverstore"},
		{ID: "X12", What: "counts", Missing: "go test -run X12 ./media ./rtcpool ./service ./resolverstore"},
		{What: "LiveKit's rtc-node as a peer", Missing: "not run: it needs network namespaces of its own"},
	}
}
