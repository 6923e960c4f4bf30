// One translation unit: compiling this shim is reading libtorch's headers, and this way they are read once and not four times.

#include "ext.cpp"
#include "mixed.cpp"
#include "paper.cpp"
#include "watch.cpp"
