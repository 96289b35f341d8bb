// For a compile check only: see README.md.
#ifndef KT_DECLARATIONS_MICRO_OP_RESOLVER_H
#define KT_DECLARATIONS_MICRO_OP_RESOLVER_H

namespace tflite {

class MicroOpResolver {
  public:
    virtual void only_to_have_a_virtual_table() const;
};

}  // namespace tflite

#endif
