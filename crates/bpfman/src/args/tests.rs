//! Every option of every command is named here with a test that shows its effect. An option that is new fails until it is
//! entered: none is accepted and ignored.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

use clap::Arg;
use clap::Command;
use clap::CommandFactory;
use clap::Parser;

use super::Cli;

/// Shorter names of commands: they share the words of the longer ones.
const SHORT: [(&str, &str); 5] = [
    ("list", "program list"),
    ("get", "program get"),
    ("unload", "program unload"),
    ("detach", "link detach"),
    ("attach", "link attach"),
];

/// The nouns: without a command they are `list`.
const NOUNS: [&str; 3] = ["program", "link", "dispatcher"];

/// What every command that answers takes: `failures.rs` shows an error of each in each format.
const OUTPUT: &str = "output";
const OUTPUT_TEST: &str = "failures.rs::every_command_prints_its_error_as_data";

/// Command (`*` for all), option, and the test in `tests/` that shows its effect.
const TESTS: &str = "
* config settings.rs::a_missing_configuration_is_an_error_only_where_it_was_named
* log settings.rs::a_log_of_the_executor_is_the_plan_on_stderr
* runtime-dir common/mod.rs::command
* lock-timeout together.rs::a_writer_that_dies_lets_go_of_the_lock
* kernel-helper settings.rs::the_helper_is_that_of_the_configuration_unless_another_is_named
* verbose bad_input.rs::the_verifier_refuses_a_program
load program bad_input.rs::a_wrong_program_or_type_is_named
load pin-path load.rs::milestone_4_load_then_list_shows_it
load metadata load.rs::list_filters_by_metadata_application_and_type
load global load.rs::programs_of_one_object_share_its_maps
load application load.rs::list_filters_by_metadata_application_and_type
load map-owner-id load.rs::a_map_set_lives_until_its_last_user
load map-size maps.rs::maps_get_the_sizes_that_were_given_or_a_default
load engine settings.rs::an_engine_is_refused_for_a_program_that_shares_no_interface
load dry-run load.rs::a_dry_run_changes_nothing_and_prints_the_plan
program-load programs bad_input.rs::a_wrong_program_or_type_is_named
program-load metadata load.rs::list_filters_by_metadata_application_and_type
program-load global load.rs::programs_of_one_object_share_its_maps
program-load application load.rs::list_filters_by_metadata_application_and_type
program-load map-owner-id load.rs::a_map_set_lives_until_its_last_user
program-load map-size maps.rs::maps_that_their_loader_sizes_are_named
program-load engine settings.rs::the_engine_is_that_of_the_configuration_unless_another_is_named
program-load dry-run settings.rs::the_engine_is_that_of_the_configuration_unless_another_is_named
program-list quiet common/mod.rs::ids
program-list attached links.rs::a_tracepoint_is_attached_listed_and_detached
program-list unattached links.rs::a_tracepoint_is_attached_listed_and_detached
program-list type load.rs::list_filters_by_metadata_application_and_type
program-list application load.rs::list_filters_by_metadata_application_and_type
program-list metadata-selector selectors.rs::programs_are_selected_by_type_application_and_metadata
program-list selector load.rs::list_filters_by_metadata_application_and_type
program-list all shapes.rs::list_all_shows_what_bpftool_shows_and_marks_ours
program-replace map-size maps.rs::maps_get_the_sizes_that_were_given_or_a_default
program-replace map-owner-id replace.rs::a_map_of_another_size_starts_anew_in_a_set_of_its_own
program-replace allow-overlap replace.rs::an_overlap_loses_no_event
program-replace allow-gap replace.rs::a_gap_counts_no_event_twice
program-unload ignore-missing options.rs::what_is_missing_is_ignored_in_a_dry_run_too
program-unload dry-run options.rs::what_is_missing_is_ignored_in_a_dry_run_too
program-delete all common/mod.rs::drop
program-delete recursive selectors.rs::a_recursive_delete_takes_those_that_use_the_maps_first_and_each_once
link-attach-* metadata options.rs::a_key_is_given_one_value
link-attach-* dry-run links.rs::a_dry_run_prints_the_plan_and_changes_nothing
link-attach-xdp netns common/chain.rs::words
link-attach-xdp priority common/chain.rs::words
link-attach-xdp proceed-on common/chain.rs::attach
link-attach-xdp mode hooks.rs::xdp_in_mode
link-attach-xdp stats chains.rs::runs_are_counted_where_that_is_asked_for
link-attach-tc netns common/chain.rs::words
link-attach-tc priority common/chain.rs::words
link-attach-tc proceed-on common/chain.rs::attach
link-attach-tc stats chains.rs::runs_are_counted_where_that_is_asked_for
link-attach-tcx netns link_types.rs::attach_words
link-attach-tcx priority link_types.rs::attach_words
link-attach-netkit netns link_types.rs::attach_words
link-attach-netkit priority link_types.rs::attach_words
link-attach-kprobe offset probes.rs::an_instruction_is_counted_by_its_offset_in_a_function
link-attach-uprobe pid probes.rs::only_the_process_that_is_named_is_counted
link-attach-uprobe container-pid probes.rs::a_program_of_a_container_is_counted_and_not_the_hosts
link-attach-uprobe fn-name probes.rs::a_function_is_counted_by_its_name_until_it_is_detached
link-attach-uprobe offset probes.rs::an_instruction_is_counted_by_its_offset_in_the_file
link-attach-uprobe_multi pid probes.rs::only_the_process_that_is_named_is_counted
link-attach-uprobe_multi container-pid probes.rs::a_program_of_a_container_is_counted_and_not_the_hosts
link-attach-uprobe_multi fn-name probes.rs::several_functions_are_counted_with_one_link
link-attach-usdt pid probes.rs::only_the_process_that_is_named_is_counted
link-attach-usdt container-pid probes.rs::a_program_of_a_container_is_counted_and_not_the_hosts
link-attach-perf_event period probes.rs::a_perf_event_counts_the_time_of_a_processor
link-attach-perf_event frequency link_types.rs::attach_words
link-attach-perf_event cpu probes.rs::a_perf_event_counts_the_time_of_a_processor
link-attach-perf_event pid probes.rs::a_process_that_has_ended_is_named
link-attach-cgroup direction options.rs::a_direction_is_taken_only_where_the_section_leaves_it_open
link-attach-sk_lookup netns hooks.rs::a_socket_lookup_finds_the_socket_of_another_port
link-attach-flow_dissector netns hooks.rs::a_flow_dissector_looks_at_the_packets_of_its_namespace
link-attach-netfilter priority hooks.rs::netfilter
link-attach-netfilter defragment options.rs::defragmentation_is_told_to_the_kernel
link-attach-netfilter netns hooks.rs::netfilter
link-attach-iter map probes.rs::an_iterator_walks_through_the_map_that_is_named
link-attach-struct_ops map struct_ops.rs::what_is_shown_has_the_keys_of_the_contract
link-detach ignore-missing options.rs::what_is_missing_is_ignored_in_a_dry_run_too
link-detach dry-run options.rs::what_is_missing_is_ignored_in_a_dry_run_too
link-list quiet links.rs::links_are_filtered_by_program_kind_and_metadata
link-list program-id links.rs::links_are_filtered_by_program_kind_and_metadata
link-list kind links.rs::links_are_filtered_by_program_kind_and_metadata
link-list program-type selectors.rs::links_are_selected_by_their_programs
link-list application selectors.rs::links_are_selected_by_their_programs
link-list metadata-selector selectors.rs::links_are_selected_by_their_programs
link-list metadata links.rs::links_are_filtered_by_program_kind_and_metadata
link-update priority links.rs::a_link_gets_another_place_and_stays_the_same
link-update proceed-on links.rs::a_link_gets_another_place_and_stays_the_same
link-update dry-run links.rs::a_link_gets_another_place_and_stays_the_same
link-delete recursive links.rs::deleting_a_link_with_r_unloads_the_program_that_has_no_other
dispatcher-list type links.rs::an_attach_point_is_listed_shown_and_cleared
dispatcher-list nsid links.rs::an_attach_point_is_listed_shown_and_cleared
dispatcher-list ifindex links.rs::an_attach_point_is_listed_shown_and_cleared
dispatcher-delete dry-run links.rs::an_attach_point_is_listed_shown_and_cleared
doctor explain health.rs::what_a_rule_means_is_told_and_the_rules_are_listed
reconcile dry-run health.rs::repairs
reconcile prune health.rs::what_no_record_knows_is_removed_when_that_is_asked_for
reconcile reattach behind_our_back.rs::a_chain_that_was_detached_by_force_waits_and_comes_back
";

/// The command line with the options of every command, which are made when it is named.
fn whole() -> Command {
    let mut whole = Cli::command();
    whole.build();
    whole
}

/// Each command with its options, by the words that lead to it.
fn options(command: &Command, path: &str, found: &mut BTreeMap<(String, String), Vec<String>>) {
    for option in command.get_arguments().filter(|arg| !arg.is_positional()) {
        let name = option
            .get_long()
            .unwrap_or_else(|| option.get_id().as_str());
        let global = option.is_global_set();
        let command = if global { "*" } else { path };
        let written = ["help", "version"].contains(&name);
        // A noun alone takes the options of its `list`.
        if !written && (global || !NOUNS.contains(&path)) {
            let key = (command.to_owned(), name.to_owned());
            found.insert(key, spellings(option));
        }
    }
    for below in command.get_subcommands() {
        let words = format!("{path} {}", below.get_name());
        let words = words.trim();
        let long = SHORT.iter().find(|(short, _)| *short == words);
        options(below, long.map_or(words, |(_, long)| long), found);
    }
}

fn spellings(option: &Arg) -> Vec<String> {
    let short = option.get_short().map(|short| format!("\"-{short}\""));
    let long = option.get_long().map(|long| format!("\"--{long}\""));
    short.into_iter().chain(long).collect()
}

/// The text of a function in `tests/`.
fn body(test: &str) -> Option<String> {
    let (file, function) = test.split_once("::")?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(file);
    let text = std::fs::read_to_string(path).ok()?;
    let starts = ["(", "<"].map(|next| format!("fn {function}{next}"));
    let (_, rest) = starts
        .iter()
        .find_map(|start| text.split_once(start.as_str()))?;
    let end = ["\nfn ", "\n    fn ", "\n    pub fn "].iter();
    let end = end.filter_map(|next| rest.find(next)).min();
    Some(rest[..end.unwrap_or(rest.len())].to_owned())
}

fn entries() -> BTreeMap<(String, String), String> {
    let lines = TESTS.lines().filter(|line| !line.is_empty());
    let rows = lines.map(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        let mut next = || words.next().expect("a row has three words");
        let command = next().replace('-', " ");
        ((command, next()), next())
    });
    rows.collect()
}

/// The entry of an option; a `*` stands for every kind of link.
fn entry<'a>(
    rows: &'a BTreeMap<(String, String), String>,
    command: &str,
    option: &str,
) -> Option<((String, String), &'a str)> {
    let kinds = command
        .starts_with("link attach ")
        .then_some("link attach *");
    [Some(command), kinds]
        .into_iter()
        .flatten()
        .find_map(|command| {
            let key = (command.to_owned(), option.to_owned());
            rows.get(&key).map(|test| (key, test.as_str()))
        })
}

#[test]
fn every_option_has_a_test_of_its_effect() {
    let mut found = BTreeMap::new();
    options(&whole(), "", &mut found);
    assert!(found.len() > 100, "{}", found.len());
    let rows = entries();
    let mut used = BTreeSet::new();
    for ((command, option), spellings) in &found {
        let test = match entry(&rows, command, option) {
            Some((key, test)) => {
                used.insert(key);
                test
            }
            None if option == OUTPUT => OUTPUT_TEST,
            None => panic!("`{command} --{option}` has no test of its effect: enter one above"),
        };
        let text = body(test).unwrap_or_else(|| panic!("{test} is not there"));
        assert!(
            spellings.iter().any(|spelling| text.contains(spelling)),
            "{test} does not use `{command} --{option}`"
        );
    }
    let stale: Vec<_> = rows.keys().filter(|key| !used.contains(key)).collect();
    assert!(stale.is_empty(), "there are no such options: {stale:?}");
}

#[test]
fn a_hook_of_netfilter_has_the_spellings_of_its_users() {
    let spellings: [(&str, &[&str]); 5] = [
        ("pre_routing", &["prerouting", "pre-routing", "PREROUTING"]),
        ("local_in", &["localin", "local-in", "input"]),
        ("forward", &["FORWARD"]),
        ("local_out", &["localout", "local-out", "output"]),
        ("post_routing", &["postrouting", "post-routing"]),
    ];
    let parsed = |hook: &str| {
        let words = ["bpfman", "attach", "netfilter", "1", "ipv4", hook];
        format!("{:?}", Cli::try_parse_from(words).unwrap())
    };
    for (name, others) in spellings {
        for other in others {
            assert_eq!(parsed(other), parsed(name), "{other}");
        }
    }
    Cli::try_parse_from(["bpfman", "attach", "netfilter", "1", "ipv4", "routing"]).unwrap_err();
}

/// The help of a command begins as the list of commands describes it.
#[test]
fn options_change_no_description() {
    for listed in Cli::command().get_subcommands() {
        let whole = whole();
        let named = whole.find_subcommand(listed.get_name()).unwrap();
        let [listed, named] = [listed, named].map(|one| one.get_about().map(ToString::to_string));
        assert_eq!(listed, named);
    }
    let whole = whole();
    let kinds = whole.find_subcommand("attach").unwrap().get_subcommands();
    for kind in kinds.filter(|kind| kind.get_name() != "help") {
        let about = kind.get_about().unwrap().to_string();
        assert!(!about.starts_with('`'), "{about}");
    }
}
