//! Ansible's range notation for the names of machines: `pc-b-[01:30].lab.example.org`.
//!
//! The rules are those of Ansible's inventory (`expand_hostname_range`): `[first:last]` or
//! `[first:last:step]`, both ends included; a first with a leading zero keeps its width; letters
//! run from `a` to `z` and on from `A` to `Z`; without a first it is 0; of several ranges the last
//! one runs fastest. What Ansible takes and nobody means is refused: a last before the first, an
//! end that is padded alone, a step of 0.

use crate::config::yaml::validators::display_safe;

/// As many values as one pattern stands for at most, and as many PCs or VMs as a lab has.
pub(super) const MOST: usize = 65_536;
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// What a text that may be a pattern stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ranged<T> {
    /// No pattern: the text itself.
    One(T),
    /// A pattern: never none of them.
    Many(Vec<T>),
}

impl<T> Ranged<T> {
    /// How many values a pattern has.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Ranged::One(_) => None,
            Ranged::Many(values) => Some(values.len()),
        }
    }

    /// The value in this place; one that is no pattern holds in all.
    pub(super) fn at(&self, index: usize) -> Option<&T> {
        match self {
            Ranged::One(value) => Some(value),
            Ranged::Many(values) => values.get(index),
        }
    }

    /// All of them, in order.
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Ranged::One(value) => vec![value],
            Ranged::Many(values) => values,
        }
    }
}

/// Reads a text that may be a pattern, and each value that it stands for in its form.
pub(super) fn ranged<T>(
    text: &str,
    form: impl Fn(&str) -> Result<T, String>,
) -> Result<Ranged<T>, String> {
    if !text.contains('[') {
        return form(text).map(Ranged::One);
    }
    let values = expand(text).map_err(|wrong| format!("`{}` {wrong}", display_safe(text)))?;
    let values: Result<_, _> = values.iter().map(|value| form(value)).collect();
    values.map(Ranged::Many)
}

/// One range: what stands before it, and the values that take its place.
struct Part<'a> {
    before: &'a str,
    values: Values,
}

enum Values {
    /// First number, last number, step, and the digits that each has at least.
    Numbers(u32, u32, usize, usize),
    /// Places in [`LETTERS`], and the step.
    Letters(usize, usize, usize),
}

impl Values {
    fn count(&self) -> usize {
        match *self {
            Values::Numbers(first, last, step, _) => (last - first) as usize / step + 1,
            Values::Letters(first, last, step) => (last - first) / step + 1,
        }
    }

    fn push(&self, index: usize, out: &mut String) {
        match *self {
            Values::Numbers(first, _, step, width) => {
                let number = first as usize + index * step;
                out.push_str(&format!("{number:0width$}"));
            }
            Values::Letters(first, _, step) => {
                let at = first + index * step;
                out.push_str(&LETTERS[at..=at]);
            }
        }
    }
}

/// What a pattern with at least one `[` stands for. The error follows the pattern.
fn expand(text: &str) -> Result<Vec<String>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('[') {
        let Some((inside, after)) = from.split_once(']') else {
            return Err("has a [ without its ]".to_owned());
        };
        let values = values(inside)?;
        parts.push(Part { before, values });
        rest = after;
    }
    let counts = parts.iter().map(|part| part.values.count());
    let total = counts.fold(1_usize, usize::saturating_mul);
    if total > MOST {
        return Err(format!("stands for more than {MOST} names"));
    }
    let name = |index: usize| {
        // The last range runs fastest.
        let mut slower = total;
        let mut name = String::new();
        for Part { before, values } in &parts {
            slower /= values.count();
            name.push_str(before);
            values.push(index / slower % values.count(), &mut name);
        }
        name + rest
    };
    Ok((0..total).map(name).collect())
}

/// What stands between the brackets.
fn values(inside: &str) -> Result<Values, String> {
    let bounds: Vec<&str> = inside.split(':').collect();
    let (first, last, step) = match bounds[..] {
        [first, last] => (first, last, "1"),
        [first, last, step] => (first, last, step),
        _ => {
            return Err("has no range between [ and ]: it is [first:last] or \
                        [first:last:step]"
                .to_owned());
        }
    };
    if last.is_empty() {
        return Err("has a range without a last".to_owned());
    }
    let Some(step) = number(step).filter(|step| *step > 0) else {
        return Err("has a range whose step is no whole number from 1 up".to_owned());
    };
    let step = step as usize;
    let order = |well: bool| match well {
        true => Ok(()),
        false => Err(format!(
            "has a range whose first, {first}, comes after its last, {last}"
        )),
    };
    if let (Some(from), Some(to)) = (letter(first), letter(last)) {
        order(from <= to)?;
        return Ok(Values::Letters(from, to, step));
    }
    let from = number(if first.is_empty() { "0" } else { first });
    let (Some(from), Some(to)) = (from, number(last)) else {
        return Err(
            "has a range whose first and last are neither two numbers of at most 9 \
                    digits nor two letters"
                .to_owned(),
        );
    };
    let is_padded = |number: &str| number.len() > 1 && number.starts_with('0');
    let padded = is_padded(first) || is_padded(last);
    if padded && first.len() != last.len() {
        return Err(
            "has a range with leading zeros whose first and last have not the same number of \
             digits"
                .to_owned(),
        );
    }
    let width = if padded { first.len() } else { 1 };
    order(from <= to)?;
    Ok(Values::Numbers(from, to, step, width))
}

fn letter(text: &str) -> Option<usize> {
    (text.len() == 1).then(|| LETTERS.find(text)).flatten()
}

fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits && text.len() <= 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `expand_hostname_range` of ansible-core 2.19 gives.
    #[test]
    fn ranges_are_those_of_ansible() {
        for (pattern, names) in [
            ("vm[8:12]", "vm8 vm9 vm10 vm11 vm12"),
            ("pc[08:12].x", "pc08.x pc09.x pc10.x pc11.x pc12.x"),
            ("pc[000:004]", "pc000 pc001 pc002 pc003 pc004"),
            ("db[1:9:4]", "db1 db5 db9"),
            ("db[01:10:3]x", "db01x db04x db07x db10x"),
            ("r[a:e]", "ra rb rc rd re"),
            ("r[a:i:3]", "ra rd rg"),
            ("r[y:B]", "ry rz rA rB"),
            ("pc-[a:b][1:2]", "pc-a1 pc-a2 pc-b1 pc-b2"),
            (
                "pc-[1:2]-[08:10].x",
                "pc-1-08.x pc-1-09.x pc-1-10.x pc-2-08.x pc-2-09.x pc-2-10.x",
            ),
            ("x[:3]", "x0 x1 x2 x3"),
            ("x[5:5]", "x5"),
            ("x[0:0]", "x0"),
            ("x[00:01]", "x00 x01"),
            ("[1:2]x", "1x 2x"),
            ("x[09:11]y[a:b]", "x09ya x09yb x10ya x10yb x11ya x11yb"),
        ] {
            assert_eq!(expand(pattern).unwrap().join(" "), names, "{pattern}");
        }
        let many = expand("pc-b-[01:30].lab.example.org").unwrap();
        assert_eq!(many.len(), 30);
        assert_eq!(many[6], "pc-b-07.lab.example.org");
    }

    #[test]
    fn what_nobody_means_is_refused() {
        let width = "has a range with leading zeros whose first and last have not the same number \
                     of digits";
        let ends = "has a range whose first and last are neither two numbers of at most 9 digits \
                    nor two letters";
        let form = "has no range between [ and ]: it is [first:last] or [first:last:step]";
        let step = "has a range whose step is no whole number from 1 up";
        for (pattern, message) in [
            ("x[1:010]", width),
            ("x[01:5]", width),
            ("x[:05]", width),
            (
                "x[3:1]",
                "has a range whose first, 3, comes after its last, 1",
            ),
            (
                "x[c:a]",
                "has a range whose first, c, comes after its last, a",
            ),
            ("x[1:3:0]", step),
            ("x[1:3:-1]", step),
            ("x[1:3:]", step),
            ("x[1]", form),
            ("x[]", form),
            ("x[1:2:3:4]", form),
            ("x[1:]", "has a range without a last"),
            ("x[ab:cd]", ends),
            ("x[1:b]", ends),
            ("x[-1:1]", ends),
            ("x[+1:2]", ends),
            ("x[1: 2]", ends),
            ("x[é:f]", ends),
            ("x[[1:2]]", ends),
            ("x[1:1234567890]", ends),
            ("x[1:2", "has a [ without its ]"),
            ("x[1:65537]", "stands for more than 65536 names"),
            (
                "x[0:999999999][0:999999999][0:999999999]",
                "stands for more than 65536 names",
            ),
        ] {
            assert_eq!(expand(pattern), Err(message.to_owned()), "{pattern}");
        }
        assert_eq!(expand("x[1:65536]").unwrap().len(), MOST);
        assert_eq!(expand("[a:b]x[1:32768]").unwrap().len(), MOST);
    }

    #[test]
    fn each_value_has_the_form_of_one() {
        let form = |text: &str| match text {
            "x2" => Err("`x2` is wrong".to_owned()),
            text => Ok(text.to_owned()),
        };
        assert_eq!(ranged("x]", form), Ok(Ranged::One("x]".to_owned())));
        assert_eq!(ranged("x[1:3]", form), Err("`x2` is wrong".to_owned()));
        let many = ranged("x[3:4]", form).unwrap();
        assert_eq!(many.length(), Some(2));
        assert_eq!((many.at(1), many.at(2)), (Some(&"x4".to_owned()), None));
        assert_eq!(
            ranged("x[2:", form),
            Err("`x[2:` has a [ without its ]".to_owned())
        );
    }
}
