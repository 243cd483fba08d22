//! The command that attaches a link anew, out of its record.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::Link;
use super::LinkDetails;
use super::LinkInterface;
use super::UprobeDetails;
use crate::action::Sampling;
use crate::types::AbsolutePath;
use crate::types::ProgramType;
use crate::types::TC_DEFAULT;
use crate::types::TC_VERDICTS;
use crate::types::Verdict;
use crate::types::XDP_DEFAULT;
use crate::types::XDP_VERDICTS;
use crate::types::XdpMode;

/// `BPF_CGROUP_INET_INGRESS` and `BPF_CGROUP_INET_EGRESS` of `linux/bpf.h`.
const CGROUP_INET: [(u32, &str); 2] = [(0, "ingress"), (1, "egress")];

impl Link {
    /// The words of the command that attaches its program again as it was attached: by a new link, where its interface is
    /// `now`. The program's type says whether a direction has to be named.
    #[must_use]
    pub fn attach_words(
        &self,
        now: Option<&LinkInterface>,
        program_type: Option<ProgramType>,
    ) -> Vec<String> {
        let directed =
            program_type.is_some_and(|program_type| program_type.expected_attach_type().is_none());
        let mut words = vec![
            "bpfman".to_owned(),
            "attach".to_owned(),
            match &self.details {
                // A probe on return is asked for by the type of its program.
                LinkDetails::Kretprobe { .. } => "kprobe".to_owned(),
                LinkDetails::Uretprobe(_) => "uprobe".to_owned(),
                details => details.kind().name().to_owned(),
            },
            self.program.to_string(),
        ];
        let details = match now {
            Some(now) => &self.details.clone().at_exactly(now),
            None => &self.details,
        };
        add_target(&mut words, details, directed);
        for (key, value) in &self.metadata {
            option(&mut words, "--metadata", &format!("{key}={value}"));
        }
        words
    }

    /// The same as one line for a shell.
    #[must_use]
    pub fn attach_command(
        &self,
        now: Option<&LinkInterface>,
        program_type: Option<ProgramType>,
    ) -> String {
        let words = self.attach_words(now, program_type);
        let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        quoted.join(" ")
    }
}

impl LinkDetails {
    fn at_exactly(mut self, now: &LinkInterface) -> Self {
        if let Self::Xdp { at, .. }
        | Self::Tc { at, .. }
        | Self::Tcx { at, .. }
        | Self::Netkit { at, .. } = &mut self
        {
            at.clone_from(now);
        }
        self
    }
}

/// A word as a POSIX shell reads it as one.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=,+%@".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn option(words: &mut Vec<String>, name: &str, value: &(impl ToString + ?Sized)) {
    words.push(name.to_owned());
    words.push(value.to_string());
}

fn optional<T: ToString>(words: &mut Vec<String>, name: &str, value: Option<&T>) {
    if let Some(value) = value {
        option(words, name, value);
    }
}

fn namespace(words: &mut Vec<String>, netns: Option<&AbsolutePath>) {
    optional(words, "--netns", netns);
}

fn verdicts(words: &mut Vec<String>, table: &[Verdict], default: &[i32], codes: &[i32]) {
    if codes == default {
        return;
    }
    let names = codes.iter().map(|code| {
        let known = table.iter().find(|verdict| verdict.code == *code);
        known.map_or_else(|| code.to_string(), |verdict| verdict.name.to_owned())
    });
    let names: Vec<String> = names.collect();
    option(words, "--proceed-on", &names.join(","));
}

fn add_target(words: &mut Vec<String>, details: &LinkDetails, directed: bool) {
    use LinkDetails as D;
    match details {
        D::Xdp { .. } | D::Tc { .. } | D::Tcx { .. } | D::Netkit { .. } => {
            add_interface(words, details);
        }
        D::Tracepoint { group, name } => words.push(format!("{group}/{name}")),
        D::RawTracepoint { name } => words.push(name.clone()),
        D::Kprobe {
            fn_name, offset, ..
        }
        | D::Kretprobe {
            fn_name, offset, ..
        } => {
            words.push(fn_name.clone());
            if *offset != 0 {
                option(words, "--offset", offset);
            }
        }
        D::KprobeMulti { functions, .. } => words.extend(functions.iter().cloned()),
        D::Uprobe(probe) | D::Uretprobe(probe) => add_uprobe(words, probe),
        D::UprobeMulti {
            target,
            functions,
            pid,
            container_pid,
            ..
        } => {
            words.push(target.clone());
            option(words, "--fn-name", &functions.join(","));
            optional(words, "--pid", pid.as_ref());
            optional(words, "--container-pid", container_pid.as_ref());
        }
        D::Usdt {
            target,
            provider,
            name,
            pid,
            container_pid,
            ..
        } => {
            words.push(target.clone());
            words.push(format!("{provider}:{name}"));
            optional(words, "--pid", pid.as_ref());
            optional(words, "--container-pid", container_pid.as_ref());
        }
        // These say nothing more than what the program was loaded for.
        D::TpBtf { .. }
        | D::Fentry { .. }
        | D::Fexit { .. }
        | D::FmodRet { .. }
        | D::Fsession { .. }
        | D::Lsm { .. }
        | D::Freplace { .. } => {}
        D::PerfEvent { .. } | D::Cgroup { .. } | D::Netfilter { .. } => {
            add_other(words, details, directed);
        }
        D::SkLookup { netns, .. } | D::FlowDissector { netns, .. } => {
            namespace(words, netns.as_ref());
        }
        D::Iter { map, .. } => optional(words, "--map", map.as_ref()),
        D::StructOps { map, .. } => option(words, "--map", map),
        D::Sockmap { map, .. } => words.push(map.to_string()),
    }
}

fn add_interface(words: &mut Vec<String>, details: &LinkDetails) {
    let (Some(at), Some(priority)) = (details.interface(), details.priority()) else {
        return;
    };
    words.push(at.interface.to_string());
    if let LinkDetails::Tc { direction, .. } | LinkDetails::Tcx { direction, .. } = details {
        words.push(direction.to_string());
    }
    option(words, "--priority", &priority);
    match details {
        LinkDetails::Xdp {
            proceed_on, mode, ..
        } => {
            verdicts(words, XDP_VERDICTS, XDP_DEFAULT, proceed_on);
            if *mode != XdpMode::Auto {
                option(words, "--mode", mode);
            }
        }
        LinkDetails::Tc { proceed_on, .. } => {
            verdicts(words, TC_VERDICTS, TC_DEFAULT, proceed_on);
        }
        _ => {}
    }
    let membership = details.membership();
    if membership.is_some_and(|own| own.counter.is_some()) {
        words.push("--stats".to_owned());
    }
    namespace(words, at.netns.as_ref());
}

fn add_uprobe(words: &mut Vec<String>, probe: &UprobeDetails) {
    words.push(probe.target.clone());
    optional(words, "--fn-name", probe.fn_name.as_ref());
    if probe.offset != 0 {
        option(words, "--offset", &probe.offset);
    }
    optional(words, "--pid", probe.pid.as_ref());
    optional(words, "--container-pid", probe.container_pid.as_ref());
}

fn add_other(words: &mut Vec<String>, details: &LinkDetails, directed: bool) {
    match details {
        LinkDetails::PerfEvent {
            event,
            sampling,
            cpu,
            pid,
        } => {
            words.push(event.clone());
            match sampling {
                Sampling::Period(events) => option(words, "--period", events),
                Sampling::Frequency(hertz) => option(words, "--frequency", hertz),
            }
            optional(words, "--cpu", cpu.as_ref());
            optional(words, "--pid", pid.as_ref());
        }
        LinkDetails::Cgroup {
            path, attach_type, ..
        } => {
            words.push(path.to_string());
            let way = CGROUP_INET.iter().find(|(of, _)| of == attach_type);
            if let Some((_, way)) = way.filter(|_| directed) {
                option(words, "--direction", way);
            }
        }
        LinkDetails::Netfilter {
            family,
            hook,
            priority,
            defragment,
            netns,
            ..
        } => {
            words.push(family.to_string());
            words.push(hook.to_string());
            // A negative number after a space would be an option.
            words.push(format!("--priority={priority}"));
            if *defragment {
                words.push("--defragment".to_owned());
            }
            namespace(words, netns.as_ref());
        }
        _ => {}
    }
}
