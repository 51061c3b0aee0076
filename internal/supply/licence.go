package main

import (
	"slices"
	"strings"
)

// licence is a licence that goes with the gateway's own, and how its text is known: by all of the phrases, and none of the others.
type licence struct {
	id         string // of SPDX
	phrases    []string
	notPhrases []string
}

// licences are those that may be linked: they ask for their text to be handed on, and no more.
func licences() []licence {
	const bsd = "redistribution and use in source and binary forms"
	const endorse = "may be used to endorse or promote products"
	return []licence{
		{"Apache-2.0", []string{"apache license", "version 2.0, january 2004"}, nil},
		{"Apache-2.0", []string{`licensed under the apache license, version 2.0`}, []string{"january 2004"}},
		{"BSD-3-Clause", []string{bsd, endorse}, nil},
		{"BSD-2-Clause", []string{bsd}, []string{endorse}},
		{"MIT", []string{"permission is hereby granted, free of charge", "the software is provided \"as is\""}, nil},
		{"ISC", []string{"permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"}, nil},
	}
}

// refused are words that no licence of a linked module has: licences that would be the whole binary's too, or forbid some use of it.
func refused() []string {
	return []string{"gnu general public license", "gnu lesser general public license", "gnu affero", "mozilla public license",
		"business source license", "server side public license", "commons clause", "elastic license", "all rights reserved for"}
}

// identify returns the licences that a text holds; nothing if it is none, or if any part of it is refused. Lines may be broken
// anywhere.
func identify(text string) []string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	has := func(phrase string) bool { return strings.Contains(text, phrase) }
	if slices.ContainsFunc(refused(), has) {
		return nil
	}
	var ids []string
	for _, l := range licences() {
		missing := slices.ContainsFunc(l.phrases, func(p string) bool { return !has(p) })
		if !missing && !slices.ContainsFunc(l.notPhrases, has) && !slices.Contains(ids, l.id) {
			ids = append(ids, l.id)
		}
	}
	return ids
}
