//! A double of Drone: its server and its runners in one folder, and the program `drone` in front of
//! them. It behaves as a real server (2.25.0), the exec runner and the compiler of the docker runner
//! were seen to.
//!
//! ```text
//! yaml      what Drone's parser makes of a YAML text
//! pipeline  pipelines and their steps; a setting as text
//! build     what a build is, and the environment that it gives its steps
//! runner    runs the steps of a build as processes: secrets, exit codes, masked logs
//! program   `drone secret add`, `drone build promote`, `drone build rollback`
//! ```
//!
//! What is different: `drone build …` comes back when the build has ended and not when it is queued,
//! and a docker step is a process on this machine, the program that its image stands for.

#![allow(clippy::unwrap_used, reason = "a double that cannot go on ends")]
#![allow(clippy::print_stdout, reason = "one part of it is a program")]

pub(crate) mod build;
pub(crate) mod pipeline;
pub(crate) mod program;
pub(crate) mod runner;
pub(crate) mod yaml;
