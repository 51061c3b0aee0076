#!/bin/sh
# Makes the clips of this directory: a few VP8 pictures of one test pattern, small enough for the tree. Needs ffmpeg with libvpx.
set -eu
cd "$(dirname "$0")"
for size in 640x360 3840x2160; do
	ffmpeg -nostdin -v error -y -f lavfi -i "color=c=0x3060a0:size=$size:rate=5" -frames:v 5 \
		-c:v libvpx -b:v 200k -g 5 -deadline realtime -cpu-used 8 -fflags +bitexact -flags:v +bitexact "plain-$size.ivf"
done
