"""A small network in which nodes between the convolution and the head are in the way."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx
from textmodel import parse

from fc2conv import Options, SlidingOptions

CONV = "c = Conv <kernel_shape = [3, 3]> (x, k)"
HEAD = "f = Flatten (d)  [fc] y = Gemm <transB = 1> (f, w)"


@dataclass(frozen=True)
class Case:
    """The nodes between the convolution `c` [N,4,6,6] and the head on `d`, and who is to blame."""

    body: str
    node: str
    weights: str = ""
    options: Options = field(default_factory=lambda: Options(sliding=SlidingOptions()))
    columns: int = 144
    image: str = "8,8"
    head: str = HEAD

    def model(self) -> onnx.ModelProto:
        return parse(
            f"""g (float[N,2,{self.image}] x) => (float[N,5] y)
            <float[4,2,3,3] k, float[5,{self.columns}] w{self.weights}> {{ {CONV}  {self.body}  {self.head} }}"""
        )
