module {
  func.func private @main(tensor<1xf32>)
}
