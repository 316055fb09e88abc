// Numbers as text, as the words' format_ratio has them: norms and ratios come as log10, -Infinity for zero.
"use strict";

function number(log) {
  if (Number.isNaN(log)) return "nan";
  if (log === Infinity) return "inf";
  if (log === -Infinity) return "0";
  const whole = Math.floor(log);
  const [digits, carried] = (10 ** (log - whole)).toExponential(2).split("e");
  const exponent = whole + Number(carried);
  if (exponent >= -4 && exponent < 3) return String(Number(`${digits}e${exponent}`));
  return `${Number(digits)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}
