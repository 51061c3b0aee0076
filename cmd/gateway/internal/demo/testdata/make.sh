#!/bin/sh
# Makes the pictures of this directory by the ffmpeg program: the first one of alice's camera, 161×91, in three formats.
set -eu
cd "$(dirname "$0")"
clip=../../../../../internal/sfutest/clips/alice-camera.ivf
picture() { ffmpeg -v error -y -i "$clip" -frames:v 1 -vf scale=161:91 -bitexact "$@"; }
picture -pix_fmt yuv420p -f rawvideo alice.i420
picture -pix_fmt rgb24 -f rawvideo alice.rgb24
picture -pix_fmt yuvj420p -q:v 2 -f mjpeg alice.jpg
