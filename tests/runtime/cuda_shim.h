// Enough of CUDA for vivant/gpu/kernels.cu to be C++: threads are done one after the other.
#include <cmath>
#include <utility>

#define __global__
#define __device__

static thread_local struct { unsigned x; } blockIdx, threadIdx, blockDim;

// Runs a kernel with its arguments as the driver takes them: an array of where each one lies.
template <typename... Arguments, std::size_t... Index>
static void run(void (*kernel)(Arguments...), void **arguments, std::index_sequence<Index...>) {
    kernel(*static_cast<std::remove_reference_t<Arguments> *>(arguments[Index])...);
}

template <typename... Arguments>
static void launch(void (*kernel)(Arguments...), unsigned threads, void **arguments) {
    blockDim.x = 256;
    for (blockIdx.x = 0; blockIdx.x * blockDim.x < threads; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x)
            run(kernel, arguments, std::index_sequence_for<Arguments...>());
}

#define LAUNCH(NAME)                                                                  \
    extern "C" void launch_##NAME(unsigned threads, void **arguments) {               \
        launch(NAME, threads, arguments);                                             \
    }
