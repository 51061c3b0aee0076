#include "buffers.h"

#include <libavutil/imgutils.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
	ALIGN = 64,            // of every plane
	SLACK = 16 + ALIGN,    // behind every plane: SIMD reads past the end
	PAD_W = 15, PAD_H = 31 // what a coded picture may exceed the shown one by (H.264 field pairs)
};

// Blocks of one size. A decoder uses few at a time, and consumers that read slowly hold many more for a while: of those that come back only so many are kept.
enum { SPARE = 8 };

struct avc_pool {
	pthread_mutex_t lock;
	size_t size;
	avc_counter *counter;
	int users; // the decoder, and blocks that are out
	int open;  // the decoder is one of them
	int spares;
	uint8_t *spare[SPARE];
};

static void free_block(avc_pool *p, uint8_t *block)
{
	avc_count(p->counter, -1, -(int64_t)p->size);
	free(block);
}

static uint8_t *new_block(avc_pool *p)
{
	void *block;
	if (posix_memalign(&block, ALIGN, p->size))
		return NULL;
	// Zeroed: a damaged picture must not show what was in this memory before, perhaps another participant.
	memset(block, 0, p->size);
	avc_count(p->counter, 1, p->size);
	return block;
}

static avc_pool *open_pool(size_t size, avc_counter *counter)
{
	avc_pool *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	p->size = size;
	p->counter = counter;
	p->users = p->open = 1;
	return p;
}

// leave_pool is called with the lock by one that is no user any more.
static void leave_pool(avc_pool *p)
{
	int last = --p->users == 0;
	pthread_mutex_unlock(&p->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void avc_close_pool(avc_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->open = 0;
	while (p->spares > 0)
		free_block(p, p->spare[--p->spares]);
	leave_pool(p);
}

// give_back is an AVBuffer's free callback: it comes on any thread, perhaps after the decoder has gone.
static void give_back(void *pool, uint8_t *block)
{
	avc_pool *p = pool;
	pthread_mutex_lock(&p->lock);
	if (p->open && p->spares < SPARE)
		p->spare[p->spares++] = block;
	else
		free_block(p, block);
	leave_pool(p);
}

static AVBufferRef *take_block(avc_pool *p)
{
	uint8_t *block = NULL;
	pthread_mutex_lock(&p->lock);
	if (p->spares > 0)
		block = p->spare[--p->spares];
	p->users++;
	pthread_mutex_unlock(&p->lock);
	if (!block)
		block = new_block(p);
	AVBufferRef *ref = block ? av_buffer_create(block, p->size, give_back, p, 0) : NULL;
	if (!ref) {
		pthread_mutex_lock(&p->lock);
		if (block)
			free_block(p, block);
		leave_pool(p);
	}
	return ref;
}

int avc_layout(int format)
{
	switch (format) {
	case AV_PIX_FMT_YUV420P:
	case AV_PIX_FMT_YUVJ420P:
		return AVC_I420;
	case AV_PIX_FMT_YUV422P:
	case AV_PIX_FMT_YUVJ422P:
		return AVC_I422;
	case AV_PIX_FMT_YUV444P:
	case AV_PIX_FMT_YUVJ444P:
		return AVC_I444;
	case AV_PIX_FMT_YUV420P10LE:
		return AVC_I010;
	}
	return 0;
}

int avc_is_full(int format)
{
	return format == AV_PIX_FMT_YUVJ420P || format == AV_PIX_FMT_YUVJ422P || format == AV_PIX_FMT_YUVJ444P;
}

int64_t avc_coded_pixels(int64_t max_pixels)
{
	// (w+PAD_W)(h+PAD_H) where no side exceeds 16384, the largest that any of the codecs' levels has.
	return max_pixels + (PAD_W + PAD_H) * 16384 + PAD_W * PAD_H;
}

// plane_sizes fills strides and sizes by libavcodec's own rules of alignment, and returns the offsets' end.
static int64_t plane_sizes(AVCodecContext *ctx, const AVFrame *frame, int stride[4], size_t size[4])
{
	int w = frame->width, h = frame->height, align[AV_NUM_DATA_POINTERS], unaligned;
	avcodec_align_dimensions2(ctx, &w, &h, align);
	do { // a wider luma row until every row is aligned
		int ret = av_image_fill_linesizes(stride, frame->format, w);
		if (ret < 0)
			return ret;
		w += w & ~(w - 1);
		unaligned = 0;
		for (int i = 0; i < 3; i++)
			unaligned |= stride[i] % align[i];
	} while (unaligned);
	ptrdiff_t wide[4] = {stride[0], stride[1], stride[2], stride[3]};
	int ret = av_image_fill_plane_sizes(size, frame->format, h, wide);
	if (ret < 0)
		return ret;
	int64_t total = 0;
	for (int i = 0; i < 3; i++)
		total += FFALIGN(size[i] + SLACK, ALIGN);
	return total;
}

// What is written to a corner of each block before it is decoded: a block that still has it was not.
static const uint8_t unpainted[8] = {0x9d, 0x13, 0xe7, 0x51, 0xc4, 0x2a, 0x88, 0x6f};

enum { BLOCK = 16 }; // bytes; no coding tree block is smaller

// row_bytes is how long a row of luma is.
static ptrdiff_t row_bytes(const AVFrame *frame)
{
	return (ptrdiff_t)frame->width * (avc_layout(frame->format) == AVC_I010 ? 2 : 1);
}

static void unpaint(AVFrame *frame)
{
	ptrdiff_t end = row_bytes(frame) - (ptrdiff_t)sizeof(unpainted);
	for (int y = 0; y < frame->height; y += BLOCK)
		for (ptrdiff_t x = 0; x <= end; x += BLOCK)
			memcpy(frame->data[0] + (ptrdiff_t)y * frame->linesize[0] + x, unpainted, sizeof(unpainted));
}

// round_up is to the next block.
static ptrdiff_t round_up(ptrdiff_t at) { return (at + BLOCK - 1) / BLOCK * BLOCK; }

int avc_is_painted(const AVFrame *frame)
{
	ptrdiff_t stride = frame->linesize[0], cropped = frame->data[0] - frame->buf[0]->data;
	ptrdiff_t top = cropped / stride, left = cropped % stride, end = left + row_bytes(frame) - (ptrdiff_t)sizeof(unpainted);
	for (ptrdiff_t y = round_up(top); y < top + frame->height; y += BLOCK)
		for (ptrdiff_t x = round_up(left); x <= end; x += BLOCK)
			if (!memcmp(frame->buf[0]->data + y * stride + x, unpainted, sizeof(unpainted)))
				return 0;
	return 1;
}

static int refuse(avc_decoder *d, int why, int ret)
{
	d->refused = why;
	return ret;
}

int avc_get_buffer(AVCodecContext *ctx, AVFrame *frame, int flags)
{
	(void)flags;
	avc_decoder *d = ctx->opaque;
	int stride[4];
	size_t size[4];
	if (!avc_layout(frame->format))
		return refuse(d, AVC_REFUSED_FORMAT, AVERROR_PATCHWELCOME);
	if ((int64_t)FFMAX(frame->width - PAD_W, 1) * FFMAX(frame->height - PAD_H, 1) > d->max_pixels ||
	    (int64_t)ctx->width * ctx->height > d->max_pixels)
		return refuse(d, AVC_REFUSED_SIZE, AVERROR(EINVAL));
	int64_t total = plane_sizes(ctx, frame, stride, size);
	if (total < 0)
		return (int)total;
	if (!d->pool || d->pool->size != (size_t)total) {
		avc_close_pool(d->pool);
		d->pool = open_pool(total, d->buffers);
		if (!d->pool)
			return AVERROR(ENOMEM);
	}
	frame->buf[0] = take_block(d->pool);
	if (!frame->buf[0])
		return AVERROR(ENOMEM);
	uint8_t *at = frame->buf[0]->data;
	for (int i = 0; i < 3; i++) {
		frame->data[i] = at;
		frame->linesize[i] = stride[i];
		at += FFALIGN(size[i] + SLACK, ALIGN);
	}
	frame->extended_data = frame->data;
	if (d->unpaint)
		unpaint(frame);
	return 0;
}
