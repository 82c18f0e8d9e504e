'use strict'
// Builds the native half with cargo and puts it beside index.js. Runs at `npm install`; a published package
// has no sources and takes the native half of this platform's own package.
//
// PODWAY_PROFILE=dev builds faster and runs slower; PODWAY_FEATURES='' leaves the command out.

const { copyFileSync, existsSync } = require('node:fs')
const { join } = require('node:path')
const { spawnSync } = require('node:child_process')

const here = __dirname
const manifest = join(here, 'Cargo.toml')
if (!existsSync(manifest)) {
  process.exit(0)
}

const target = process.env.CARGO_TARGET_DIR ?? join(here, '..', 'target')
const profile = process.env.PODWAY_PROFILE ?? 'release'
const triple = process.env.CARGO_BUILD_TARGET ?? ''
const options = ['--profile', profile, '--manifest-path', manifest, '--target-dir', target]
if (process.env.PODWAY_FEATURES !== undefined) {
  options.push('--no-default-features', '--features', process.env.PODWAY_FEATURES)
}
const cargo = spawnSync('cargo', ['build', '--quiet', ...options], { stdio: 'inherit' })
if (cargo.error) {
  console.error('podway: cargo is needed to build the native half: https://rustup.rs')
  process.exit(1)
}
if (cargo.status !== 0) {
  process.exit(cargo.status ?? 1)
}
const names = { linux: 'libpodway_node.so', darwin: 'libpodway_node.dylib', win32: 'podway_node.dll' }
const folder = join(target, triple, profile === 'dev' ? 'debug' : profile)
copyFileSync(join(folder, names[process.platform] ?? names.linux), join(here, 'podway.node'))
