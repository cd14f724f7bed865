/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that work on one row together: a warp or a block. */
#ifndef LT_GPU_TEAM_HPP
#define LT_GPU_TEAM_HPP

#include "gpu.hpp"

namespace gpu
{

struct warp_team {
    GPU_FN static int size()
    {
        return warp_width();
    }
    GPU_FN static int64_t first()
    {
        return (int64_t)block_x() * (LT_GPU_THREADS / warp_width()) + thread_x() / warp_width();
    }
    GPU_FN static int64_t count()
    {
        return (int64_t)grid_x() * (LT_GPU_THREADS / warp_width());
    }
    template <class Op> GPU_FN static float reduce(float v)
    {
        return warp_reduce<Op>(v);
    }
};

struct block_team {
    GPU_FN static int size()
    {
        return LT_GPU_THREADS;
    }
    GPU_FN static int64_t first()
    {
        return block_x();
    }
    GPU_FN static int64_t count()
    {
        return grid_x();
    }
    template <class Op> GPU_FN static float reduce(float v)
    {
        return block_reduce<Op>(v);
    }
};

/* This thread's number in its team. */
template <class Team> GPU_FN int member()
{
    return thread_x() % Team::size();
}

} // namespace gpu

#endif
