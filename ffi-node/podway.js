#!/usr/bin/env node
'use strict'
// `npx podway`: the command, the same Rust code that `cargo install` builds.

const native = require('./native.js')

if (native.command === undefined) {
  console.error('podway: this build of the package comes without the command')
  process.exit(2)
}
process.exit(native.command(['podway', ...process.argv.slice(2)]))
