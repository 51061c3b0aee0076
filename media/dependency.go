package media

// Bounds of a dependency descriptor's structure: its ids have six bits, its decode targets five.
const (
	maxTemplates     = 64
	maxDecodeTargets = 32
)

// How a frame stands to a decode target: what is left is "switch", at which a receiver may begin, and "required".
const (
	dtiAbsent      = 0
	dtiDiscardable = 1
	dtiSwitch      = 2
)

// frameDependency is what a dependency descriptor (AOMedia RTP payload specification, Appendix A) says of a packet's frame.
type frameDependency struct {
	present     bool
	temporal    uint8
	discardable bool  // by every decode target that it belongs to
	enters      uint8 // a bit for each temporal layer that may be entered here
}

// dependencyReader keeps the structure that the templates of the packets refer to. It comes with key frames.
type dependencyReader struct {
	offset    int
	targets   int
	templates []template
	temporals [maxDecodeTargets]uint8 // of each decode target
}

type template struct {
	temporal, spatial uint8
	dtis              [maxDecodeTargets]uint8
}

// read reads an extension. What cannot be read, or refers to an unknown structure, is not present.
func (d *dependencyReader) read(b []byte) (f frameDependency) {
	r := &bitReader{data: b}
	r.skip(2)
	id := int(r.bits(6))
	r.skip(16)
	custom := false
	if len(b) > 3 {
		structure, active := r.bit() == 1, r.bit() == 1
		custom = r.bit() == 1
		r.skip(2)
		if structure {
			d.structure(r)
		}
		if active {
			r.skip(d.targets)
		}
	}
	index := (id + maxTemplates - d.offset) % maxTemplates
	if r.bad || index >= len(d.templates) {
		return f
	}
	t := d.templates[index]
	if custom {
		for i := range d.targets {
			t.dtis[i] = uint8(r.bits(2))
		}
	}
	if r.bad {
		return f
	}
	f = frameDependency{present: true, temporal: t.temporal, discardable: true}
	for i, dti := range t.dtis[:d.targets] {
		f.discardable = f.discardable && dti <= dtiDiscardable
		if dti == dtiSwitch {
			f.enters |= 1 << d.temporals[i]
		}
	}
	return f
}

// structure reads template_dependency_structure (A.8.2). If it is malformed nothing is known any more.
func (d *dependencyReader) structure(r *bitReader) {
	*d = dependencyReader{templates: d.templates[:0]}
	d.offset = int(r.bits(6))
	d.targets = int(r.bits(5)) + 1
	if !d.layers(r) {
		d.templates = d.templates[:0]
		return
	}
	for i := range d.templates {
		t := &d.templates[i]
		for j := range d.targets {
			t.dtis[j] = uint8(r.bits(2))
			if t.dtis[j] != dtiAbsent {
				d.temporals[j] = max(d.temporals[j], t.temporal)
			}
		}
	}
	for range d.templates { // differences of frame numbers
		for r.bit() == 1 {
			r.skip(4)
		}
	}
	d.chains(r)
	if r.bit() == 1 { // sizes
		last := d.templates[len(d.templates)-1]
		r.skip(32 * (int(last.spatial) + 1))
	}
	if r.bad {
		d.templates = d.templates[:0]
	}
}

// layers reads template_layers.
func (d *dependencyReader) layers(r *bitReader) bool {
	var t template
	for len(d.templates) < maxTemplates && !r.bad {
		d.templates = append(d.templates, t)
		switch r.bits(2) {
		case 1:
			t.temporal++
		case 2:
			t.temporal = 0
			t.spatial++
		case 3:
			return !r.bad
		}
		if t.temporal > 7 || t.spatial > 3 {
			return false
		}
	}
	return false
}

// chains skips template_chains.
func (d *dependencyReader) chains(r *bitReader) {
	n := r.ns(uint32(d.targets) + 1)
	if n == 0 {
		return
	}
	for range d.targets {
		r.ns(n)
	}
	r.skip(4 * int(n) * len(d.templates))
}

// ns reads a number below n in as few bits as it may take (A.8.1).
func (r *bitReader) ns(n uint32) uint32 {
	w := 0
	for x := n; x != 0; x >>= 1 {
		w++
	}
	m := uint32(1)<<w - n
	v := r.bits(w - 1)
	if v < m {
		return v
	}
	return v<<1 - m + r.bit()
}
