// RUN: rwkv-opt %s -wkv-choose-chunk=form=chunked | FileCheck %s --check-prefixes=CHECK,CHUNKED
// RUN: rwkv-opt %s -wkv-choose-chunk="form=chunked chunk-length=64" | FileCheck %s --check-prefixes=CHECK,LENGTH
// RUN: rwkv-opt %s -wkv-choose-chunk | FileCheck %s --check-prefixes=CHECK,AUTO
// RUN: rwkv-opt %s -wkv-choose-chunk=product-rate=8 | FileCheck %s --check-prefixes=CHECK,UNITS
// RUN: rwkv-opt %s -wkv-choose-chunk="product-rate=8 chunk-length=32" | FileCheck %s --check-prefixes=CHECK,FIXED
// RUN: rwkv-opt %s -wkv-choose-chunk=form=chunked -wkv-choose-chunk=form=recurrent | FileCheck %s --check-prefixes=CHECK,RECURRENT
// RUN: not rwkv-opt %s -wkv-choose-chunk=chunk-length=24 2>&1 | FileCheck %s --check-prefix=MULTIPLE
// RUN: not rwkv-opt %s -wkv-choose-chunk=form=parallel 2>&1 | FileCheck %s --check-prefix=FORM

// MULTIPLE: error: 'wkv.wkv7' op cannot be computed in chunks of 24 tokens: expected a multiple of 16
// FORM: error: unknown form 'parallel': expected auto, recurrent or chunked

// Products that cost as much as passes over the state do not pay; matrix units make them.
// CHECK-LABEL: @wkv7
// CHUNKED:     wkv.wkv7 {{.*}} {chunk = 16 : i64}
// LENGTH:      wkv.wkv7 {{.*}} {chunk = 64 : i64}
// AUTO-NOT:    chunk =
// UNITS:       wkv.wkv7 {{.*}} {chunk = 16 : i64}
// FIXED:       wkv.wkv7 {{.*}} {chunk = 32 : i64}
// RECURRENT-NOT: chunk =
func.func @wkv7(%h: tensor<1x128x12x64xf32>, %s: tensor<1x12x64x64xf32>) -> (tensor<1x128x12x64xf32>, tensor<1x12x64x64xf32>) {
  %y, %n = wkv.wkv7 receptance(%h) decay(%h) key(%h) value(%h) a(%h) b(%h) init(%h) state(%s) : (tensor<1x128x12x64xf32>, tensor<1x128x12x64xf32>, tensor<1x128x12x64xf32>, tensor<1x128x12x64xf32>, tensor<1x128x12x64xf32>, tensor<1x128x12x64xf32>, tensor<1x128x12x64xf32>, tensor<1x12x64x64xf32>) -> (tensor<1x128x12x64xf32>, tensor<1x12x64x64xf32>)
  return %y, %n : tensor<1x128x12x64xf32>, tensor<1x12x64x64xf32>
}

// Too few tokens for any chunk, and one token, which has no other form.
// CHECK-LABEL: @short
// CHECK:       wkv.wkv6
// CHECK-NOT:   chunk =
// CHECK:       return
func.func @short(%h: tensor<1x8x2x64xf32>, %u: tensor<2x64xf32>, %s: tensor<1x2x64x64xf32>) -> (tensor<1x8x2x64xf32>, tensor<1x2x64x64xf32>) {
  %y, %n = wkv.wkv6 receptance(%h) key(%h) value(%h) decay(%h) bonus(%u) init(%h) state(%s) : (tensor<1x8x2x64xf32>, tensor<1x8x2x64xf32>, tensor<1x8x2x64xf32>, tensor<1x8x2x64xf32>, tensor<2x64xf32>, tensor<1x8x2x64xf32>, tensor<1x2x64x64xf32>) -> (tensor<1x8x2x64xf32>, tensor<1x2x64x64xf32>)
  return %y, %n : tensor<1x8x2x64xf32>, tensor<1x2x64x64xf32>
}

// Whatever the decays are: a factor that nothing is known of.
// CHECK-LABEL: @wkv6
// CHUNKED:     wkv.wkv6 {{.*}} {chunk = 16 : i64}
// UNITS:       wkv.wkv6 {{.*}} {chunk = 16 : i64}
func.func @wkv6(%h: tensor<1x128x2x64xf32>, %u: tensor<2x64xf32>, %s: tensor<1x2x64x64xf32>, %l: tensor<i64>) -> (tensor<1x128x2x64xf32>, tensor<1x2x64x64xf32>) {
  %y, %n = wkv.wkv6 receptance(%h) key(%h) value(%h) decay(%h) bonus(%u) length(%l) init(%h) state(%s) : (tensor<1x128x2x64xf32>, tensor<1x128x2x64xf32>, tensor<1x128x2x64xf32>, tensor<1x128x2x64xf32>, tensor<2x64xf32>, tensor<i64>, tensor<1x128x2x64xf32>, tensor<1x2x64x64xf32>) -> (tensor<1x128x2x64xf32>, tensor<1x2x64x64xf32>)
  return %y, %n : tensor<1x128x2x64xf32>, tensor<1x2x64x64xf32>
}

// v4's chunks have no products: exponentials for each pair of tokens, which never pay on their own.
// CHECK-LABEL: @wkv4
// CHUNKED:     wkv.wkv4 {{.*}} {chunk = 16 : i64}
// UNITS:       wkv.wkv4
// UNITS-NOT:   chunk =
func.func @wkv4(%k: tensor<1x128x64xf32>, %c: tensor<64xf32>, %s: tensor<1x64xf32>) -> (tensor<1x128x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>) {
  %y, %a, %b, %p = wkv.wkv4 key(%k) value(%k) decay(%c) bonus(%c) init(%k) state(%s, %s, %s) : (tensor<1x128x64xf32>, tensor<1x128x64xf32>, tensor<64xf32>, tensor<64xf32>, tensor<1x128x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>) -> (tensor<1x128x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>)
  return %y, %a, %b, %p : tensor<1x128x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>, tensor<1x64xf32>
}
