// Numbers as text: norms and ratios come as log10, -Infinity for zero.
"use strict";

function number(log) {
  if (Number.isNaN(log)) return "nan";
  if (log === Infinity) return "inf";
  if (log === -Infinity) return "0";
  if (log >= -4 && log < 4) return String(Number((10 ** log).toPrecision(4)));
  let exponent = Math.floor(log);
  let mantissa = (10 ** (log - exponent)).toFixed(2);
  if (mantissa === "10.00") [mantissa, exponent] = ["1.00", exponent + 1];
  return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}
