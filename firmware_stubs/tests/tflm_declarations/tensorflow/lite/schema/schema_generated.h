// For a compile check only: see README.md.
#ifndef KT_DECLARATIONS_SCHEMA_GENERATED_H
#define KT_DECLARATIONS_SCHEMA_GENERATED_H

#include <stdint.h>

namespace tflite {

struct Model {
    uint32_t version() const;
};

const Model *GetModel(const void *data);

}  // namespace tflite

#endif
