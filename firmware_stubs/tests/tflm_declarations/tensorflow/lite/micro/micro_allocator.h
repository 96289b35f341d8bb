// For a compile check only: see README.md.
#ifndef KT_DECLARATIONS_MICRO_ALLOCATOR_H
#define KT_DECLARATIONS_MICRO_ALLOCATOR_H

#include <stddef.h>
#include <stdint.h>

namespace tflite {

enum class MemoryPlannerType { kGreedy, kLinear };

class MicroAllocator {
  public:
    static MicroAllocator *Create(uint8_t *tensor_arena, size_t arena_size,
                                  MemoryPlannerType planner = MemoryPlannerType::kGreedy);
};

}  // namespace tflite

#endif
