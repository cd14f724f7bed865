/* SPDX-License-Identifier: Apache-2.0 */
/* All kernels of backends/gpu, for nvcc. */
#include "../gpu/attention.hpp"
#include "../gpu/attention_mma.hpp"
#include "../gpu/conv.hpp"
#include "../gpu/decode.hpp"
#include "../gpu/gemm.hpp"
#include "../gpu/layout.hpp"
#include "../gpu/norm.hpp"
#include "../gpu/pointwise.hpp"
#include "../gpu/pool.hpp"
#include "../gpu/qconv.hpp"
#include "../gpu/reduce.hpp"
#include "../gpu/resize.hpp"
