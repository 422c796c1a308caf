// What Vivant does to pixels on a GPU. One kernel a question; vivant/gpu/kernels.py launches them
// and says what the arguments mean, vivant/gpu/oracles.py is the same in NumPy.
//
// Threads: one a result, in a grid of one dimension; those beyond the last return. Neighbouring
// threads read and write neighbouring bytes. There are no barriers and no memory is shared, so
// the same text compiles as C++ and is tested on machines without a GPU.
//
// Rounding: compiled without contraction (--fmad=false) and with IEEE division, every float
// operation rounds as NumPy's does; and sums are taken in the oracles' order. So results equal the
// oracles' bit for bit. It costs little: these kernels wait for memory, not for arithmetic.
//
// Sizes: a kernel has fewer than 2^31 threads (launching.py sees to it), so thread numbers are 32
// bits, whose division is quick; places in memory are 64 bits.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long place;

#define THREAD (blockIdx.x * blockDim.x + threadIdx.x)
#define LANES 1024u  // of the sums, as in oracles.py
#define FAINT 1e-4f
#define DUST 1e-5f

struct Colour { float r, g, b; };

// What is no number becomes the lowest.
static __device__ inline float clip(float value, float low, float high) {
    return value > low ? value < high ? value : high : low;
}

static __device__ inline u8 truncated(float level) { return (u8)clip(level, 0.0f, 255.0f); }

static __device__ inline u8 nearest(float level) { return (u8)rintf(clip(level, 0.0f, 255.0f)); }

// The product of two shares of 255, rounded; there are no halves.
static __device__ inline u8 times(u32 one, u32 other) { return (u8)((one * other + 127u) / 255u); }

// ------------------------------------------------------------------------------- resampling

static __device__ inline void put(float *target, place i, float value) { target[i] = value; }
static __device__ inline void put(u8 *target, place i, float value) {
    target[i] = truncated(value + 0.5f);
}

template <typename Source, typename Target>
static __device__ inline void resample(
    const Source *__restrict__ source,
    const int *__restrict__ row_first, const float *__restrict__ row_weights, int row_taps,
    const int *__restrict__ column_first, const float *__restrict__ column_weights,
    int column_taps, u32 source_width, u32 height, u32 width, u32 channels,
    Target *__restrict__ target, u32 i) {
    if (i >= height * width * channels) return;
    const u32 channel = i % channels, x = i / channels % width, y = i / channels / width;
    const float *across = column_weights + (place)x * column_taps;
    const float *down = row_weights + (place)y * row_taps;
    const place stride = (place)source_width * channels;
    const Source *line = source + row_first[y] * stride
                         + (place)column_first[x] * channels + channel;
    float total = 0.0f;
    for (int row = 0; row < row_taps; ++row, line += stride) {
        float sum = 0.0f;
        for (int column = 0; column < column_taps; ++column)
            sum += (float)line[column * channels] * across[column];
        total += sum * down[row];
    }
    put(target, i, total);
}

#define RESAMPLE(NAME, SOURCE, TARGET)                                                           \
    extern "C" __global__ void NAME(                                                             \
        const SOURCE *__restrict__ source,                                                       \
        const int *__restrict__ row_first, const float *__restrict__ row_weights, int row_taps,  \
        const int *__restrict__ column_first, const float *__restrict__ column_weights,          \
        int column_taps, int source_width, int height, int width, int channels,                  \
        TARGET *__restrict__ target) {                                                           \
        resample(source, row_first, row_weights, row_taps, column_first, column_weights,         \
                 column_taps, source_width, height, width, channels, target, THREAD);            \
    }

RESAMPLE(resample_u8_u8, u8, u8)
RESAMPLE(resample_u8_f32, u8, float)
RESAMPLE(resample_f32_u8, float, u8)
RESAMPLE(resample_f32_f32, float, float)

extern "C" __global__ void resample_fixed(
    const u8 *__restrict__ source, const int *__restrict__ rows, const int *__restrict__ columns,
    int source_width, int height, int width, int channels, u8 *__restrict__ target) {
    const u32 i = THREAD;
    if (i >= (u32)height * width * channels) return;
    const u32 channel = i % channels;
    const int *row = rows + i / channels / width * 3u, *column = columns + i / channels % width * 3u;
    int levels = 2;
    for (int end = 0; end < 2; ++end) {
        const u8 *line = source + (place)row[end] * source_width * channels + channel;
        const int sum = line[(place)column[0] * channels] * (2048 - column[2])
                        + line[(place)column[1] * channels] * column[2];
        levels += (end ? row[2] : 2048 - row[2]) * (sum >> 4) >> 16;
    }
    target[i] = (u8)(levels >> 2);
}

// First and one past the last pixel of window i of count, from start to stop.
static __device__ inline int opening(int start, int stop, int i, int count) {
    return start + (int)((long long)i * (stop - start) / count);
}
static __device__ inline int ending(int start, int stop, int i, int count) {
    return start + (int)(((long long)(i + 1) * (stop - start) + count - 1) / count);
}

extern "C" __global__ void pool(
    const u8 *__restrict__ picture, const int *__restrict__ boxes, int count, int source_width,
    int height, int width, float *__restrict__ target) {
    const u32 i = THREAD;
    if (i >= (u32)count * height * width * 3u) return;
    const u32 channel = i % 3u, x = i / 3u % width, y = i / 3u / width % height;
    const int *box = boxes + i / 3u / width / height * 4u;
    const int left = opening(box[0], box[2], x, width), right = ending(box[0], box[2], x, width);
    const int top = opening(box[1], box[3], y, height), bottom = ending(box[1], box[3], y, height);
    u32 sum = 0;
    for (int row = top; row < bottom; ++row) {
        const u8 *line = picture + ((place)row * source_width + left) * 3u + channel;
#pragma unroll 8
        for (int column = 0; column < right - left; ++column) sum += line[column * 3];
    }
    target[i] = (float)sum / (float)((bottom - top) * (right - left));
}

// ------------------------------------------------------------------------------------ sums
//
// Every lane adds up every 1024th value, then one thread adds up the lanes of each sum: the same
// order on every GPU, and short rows of additions, which keep float32 exact enough.

extern "C" __global__ void moments(
    const float *__restrict__ alpha, int count, float *__restrict__ scratch) {
    const u32 lane = THREAD;
    if (lane >= LANES) return;
    float low = 0.0f, high = 0.0f, sureness = 0.0f, sum = 0.0f;
#pragma unroll 8
    for (u32 i = lane; i < (u32)count; i += LANES) {
        const float value = alpha[i];
        // What is no number is both extremes, and stays it.
        if (i == lane || value < low || value != value) low = value;
        if (i == lane || value > high || value != value) high = value;
        sureness += fabsf(2.0f * value - 1.0f) * value;
        sum += value;
    }
    scratch[lane] = low;
    scratch[lane + LANES] = high;
    scratch[lane + 2 * LANES] = sureness;
    scratch[lane + 3 * LANES] = sum;
}

extern "C" __global__ void moments_end(
    const float *__restrict__ scratch, int count, float *__restrict__ target) {
    const u32 which = THREAD, lanes = (u32)count < LANES ? (u32)count : LANES;
    if (which >= 4) return;
    const float *values = scratch + which * LANES;
    float result = values[0];
    for (u32 lane = 1; lane < lanes; ++lane) {
        const float value = values[lane];
        if (which == 0) result = value < result || value != value ? value : result;
        if (which == 1) result = value > result || value != value ? value : result;
        if (which >= 2) result += value;
    }
    target[which] = result;
}

extern "C" __global__ void mean_colour(
    const float *__restrict__ image, const float *__restrict__ weight, int count,
    float *__restrict__ scratch) {
    const u32 lane = THREAD;
    if (lane >= LANES) return;
    float red = 0.0f, green = 0.0f, blue = 0.0f, sum = 0.0f;
    for (u32 i = lane; i < (u32)count; i += LANES) {
        const float share = weight[i] + FAINT;
        const float *pixel = image + (place)i * 3u;
        red += pixel[0] * share;
        green += pixel[1] * share;
        blue += pixel[2] * share;
        sum += share;
    }
    scratch[lane] = red;
    scratch[lane + LANES] = green;
    scratch[lane + 2 * LANES] = blue;
    scratch[lane + 3 * LANES] = sum;
}

extern "C" __global__ void mean_colour_end(
    const float *__restrict__ scratch, float *__restrict__ target) {
    const u32 channel = THREAD;
    if (channel >= 4) return;
    float value = 0.0f, sum = 0.0f;
    for (u32 lane = 0; lane < LANES; ++lane) {
        value += scratch[lane + channel * LANES];
        sum += scratch[lane + 3 * LANES];
    }
    target[channel] = channel < 3 ? value / sum : sum;
}

// ----------------------------------------------------------------------------------- mattes

extern "C" __global__ void stretch(
    const float *__restrict__ alpha, const float *__restrict__ moments, float least_contrast,
    int count, u8 *__restrict__ target) {
    const u32 i = THREAD;
    if (i >= (u32)count) return;
    const float low = moments[0], contrast = moments[1] - low;
    const float range = contrast < least_contrast ? least_contrast : contrast;
    target[i] = truncated((alpha[i] - low) / range * 255.0f);
}

extern "C" __global__ void to_bytes(
    const float *__restrict__ alpha, int count, u8 *__restrict__ target) {
    const u32 i = THREAD;
    if (i >= (u32)count) return;
    target[i] = truncated(alpha[i] * 255.0f);
}

extern "C" __global__ void invert(const u8 *source, int count, u8 *target) {
    const u32 i = THREAD;
    if (i >= (u32)count) return;
    target[i] = (u8)(255 - source[i]);
}

extern "C" __global__ void over(const u8 *front, const u8 *back, int count, u8 *target) {
    const u32 i = THREAD;
    if (i >= (u32)count) return;
    target[i] = (u8)(front[i] + times(back[i], 255u - front[i]));
}

// ------------------------------------------------------------------------------- foreground

extern "C" __global__ void fade(
    const float *__restrict__ image, const float *__restrict__ weight,
    const float *__restrict__ colour, int count, float *__restrict__ target) {
    const u32 i = THREAD;
    if (i >= (u32)count * 3u) return;
    const float from = colour[i % 3u];
    target[i] = from + weight[i / 3u] * (image[i] - from);
}

static __device__ inline int within(int i, int length) {
    return i < 0 ? 0 : i >= length ? length - 1 : i;
}

extern "C" __global__ void weighted_mean(
    const float *__restrict__ values, const float *__restrict__ weight, int inverse, int box,
    int height, int width, float *__restrict__ target) {
    const u32 i = THREAD;
    if (i >= (u32)height * width) return;
    const int x = i % (u32)width - box / 2, y = i / (u32)width - box / 2;
    Colour total = {0.0f, 0.0f, 0.0f};
    float shares = 0.0f;
    for (int row = y; row < y + box; ++row) {
        Colour line = {0.0f, 0.0f, 0.0f};
        float sum = 0.0f;
        for (int column = x; column < x + box; ++column) {
            const place j = (place)within(row, height) * width + within(column, width);
            const float share = (inverse ? 1.0f - weight[j] : weight[j]) + FAINT;
            line.r += values[j * 3] * share;
            line.g += values[j * 3 + 1] * share;
            line.b += values[j * 3 + 2] * share;
            sum += share;
        }
        total.r += line.r;
        total.g += line.g;
        total.b += line.b;
        shares += sum;
    }
    target[(place)i * 3] = total.r / shares;
    target[(place)i * 3 + 1] = total.g / shares;
    target[(place)i * 3 + 2] = total.b / shares;
}

// By what, times its share, both colours are to change so that they mix to the picture.
static __device__ inline float missing(float alpha, float image, float fore, float back) {
    const float rest = 1.0f - alpha;
    return (image - alpha * fore - rest * back) / (alpha * alpha + rest * rest);
}

extern "C" __global__ void correct(
    const float *__restrict__ alpha, const float *__restrict__ image, int count,
    float *__restrict__ fore, float *__restrict__ back) {
    const u32 i = THREAD;
    if (i >= (u32)count * 3u) return;
    const float share = alpha[i / 3u], left = missing(share, image[i], fore[i], back[i]);
    fore[i] = clip(fore[i] + share * left, 0.0f, 255.0f);
    back[i] = clip(back[i] + (1.0f - share) * left, 0.0f, 255.0f);
}

extern "C" __global__ void unmix(
    const u8 *__restrict__ photo, const u8 *__restrict__ matte, const u8 *__restrict__ fore,
    const u8 *__restrict__ back, int x, int y, int photo_width, int height, int width,
    u8 *__restrict__ target) {
    const u32 i = THREAD;
    if (i >= (u32)height * width * 3u) return;
    const u32 channel = i % 3u, column = i / 3u % width, row = i / 3u / width;
    const place j = (place)(row + y) * photo_width + column + x, k = j * 3 + channel;
    const u8 opacity = matte[j];
    const float share = (float)opacity / 255.0f, own = fore[i];
    const float level = own + share * missing(share, photo[k], own, back[i]);
    target[k] = opacity == 255 ? photo[k] : opacity == 0 ? fore[i] : nearest(level);
}

// ------------------------------------------------------------------------------ composition

// As OpenCV's blendLinear does it.
static __device__ inline u8 mixed(u8 back, u8 front, u8 alpha) {
    const float weight = (float)alpha / 255.0f, rest = 1.0f - weight;
    return nearest(((float)front * weight + (float)back * rest) / (weight + rest + DUST));
}

extern "C" __global__ void paste(
    const u8 *__restrict__ front, const u8 *__restrict__ alpha, const u8 *__restrict__ occluder,
    int x, int y, int height, int width, int canvas_height, int canvas_width,
    u8 *__restrict__ image, u8 *__restrict__ mask) {
    const u32 i = THREAD;
    if (i >= (u32)height * width) return;
    const int column = (int)(i % (u32)width) + x, row = (int)(i / (u32)width) + y;
    if (column < 0 || column >= canvas_width || row < 0 || row >= canvas_height) return;
    const place j = (place)row * canvas_width + column;
    const u8 *hiding = occluder ? occluder + j * 4 : 0;
    mask[j] = hiding ? times(alpha[i], 255u - hiding[3]) : alpha[i];
    for (int channel = 0; channel < 3; ++channel) {
        u8 layer = front[(place)i * 3 + channel];
        if (hiding) layer = mixed(layer, hiding[channel], hiding[3]);
        image[j * 3 + channel] = mixed(image[j * 3 + channel], layer, alpha[i]);
    }
}

extern "C" __global__ void darken(
    const float *__restrict__ darkness, int x, int y, int height, int width, int canvas_height,
    int canvas_width, u8 *__restrict__ image) {
    const u32 i = THREAD;
    if (i >= (u32)height * width) return;
    const int column = (int)(i % (u32)width) + x, row = (int)(i / (u32)width) + y;
    if (column < 0 || column >= canvas_width || row < 0 || row >= canvas_height) return;
    u8 *pixel = image + ((place)row * canvas_width + column) * 3;
    for (int channel = 0; channel < 3; ++channel)
        pixel[channel] = truncated((float)pixel[channel] * (1.0f - darkness[i]) + 0.5f);
}

// ---------------------------------------------------------------------------- harmonization

// Scale is the strength over 255.
static __device__ inline u8 blended(u8 old, u8 mask, float level, float scale) {
    return nearest((level - (float)old) * (float)mask * scale + (float)old);
}

static __device__ inline float between(float low, float high, float share) {
    return low + (high - low) * share;
}

extern "C" __global__ void look_up(
    const u8 *__restrict__ picture, const u8 *__restrict__ mask, const float *__restrict__ table,
    int side, float scale, int count, u8 *__restrict__ target) {
    const u32 i = THREAD;
    if (i >= (u32)count) return;
    const u8 *pixel = picture + (place)i * 3;
    u8 *result = target + (place)i * 3;
    const u8 weight = mask[i];
    if (!weight) {
        for (int channel = 0; channel < 3; ++channel) result[channel] = pixel[channel];
        return;
    }
    int before[3];
    float share[3];
    for (int axis = 0; axis < 3; ++axis) {
        const float where = (float)pixel[axis] * ((float)(side - 1) / 255.0f);
        before[axis] = (int)where < side - 2 ? (int)where : side - 2;
        share[axis] = where - (float)before[axis];
    }
    // The table runs [colour][red][green][blue].
    const int green = side, red = side * side;
    const float *entry = table + before[0] * red + before[1] * green + before[2];
    for (int channel = 0; channel < 3; ++channel, entry += red * side) {
        const float *next = entry + red;
        const float low = between(between(entry[0], entry[1], share[2]),
                                  between(entry[green], entry[green + 1], share[2]), share[1]);
        const float high = between(between(next[0], next[1], share[2]),
                                   between(next[green], next[green + 1], share[2]), share[1]);
        const float level = clip(between(low, high, share[0]), 0.0f, 1.0f) * 255.0f;
        result[channel] = blended(pixel[channel], weight, level, scale);
    }
}

extern "C" __global__ void blend(
    const u8 *__restrict__ picture, const u8 *__restrict__ mask,
    const float *__restrict__ colours, float scale, int x, int y, int height, int width,
    int picture_width, int count, u8 *__restrict__ target) {
    const u32 i = THREAD;
    if (i >= (u32)count) return;
    const int column = (int)(i % (u32)picture_width) - x, row = (int)(i / (u32)picture_width) - y;
    const bool here = column >= 0 && column < width && row >= 0 && row < height && mask[i];
    for (int channel = 0; channel < 3; ++channel) {
        const place k = (place)i * 3 + channel;
        u8 level = picture[k];
        if (here) {
            const float colour = colours[((place)channel * height + row) * width + column];
            level = blended(level, mask[i], (colour + 1.0f) * 127.5f, scale);
        }
        target[k] = level;
    }
}

extern "C" __global__ void gather(
    const u8 *__restrict__ picture, const u8 *__restrict__ mask, const int *__restrict__ rows,
    const int *__restrict__ columns, int picture_width, int shrink, int window, int count,
    u32 *__restrict__ target) {
    const u32 i = THREAD, s = shrink;
    if (i >= (u32)count) return;
    const u32 k = i % s, column = i / s % window, j = i / s / window % s, row = i / s / window / s;
    const place from = (place)(rows[row] + j) * picture_width + columns[column] + k;
    const u8 *pixel = picture + from * 3;
    // The first byte is the lowest on every machine that has a GPU of NVIDIA's.
    target[i] = pixel[0] | pixel[1] << 8 | pixel[2] << 16 | (u32)mask[from] << 24;
}

extern "C" __global__ void scatter(
    const float *__restrict__ values, int top, int left, int rows, int columns,
    int target_height, int target_width, int count, float *__restrict__ target) {
    const u32 i = THREAD;
    if (i >= (u32)count) return;
    const u32 column = i % columns, row = i / columns % rows, channel = i / columns / rows;
    const place line = (place)channel * target_height + top + row;
    target[line * target_width + left + column] = values[i];
}
