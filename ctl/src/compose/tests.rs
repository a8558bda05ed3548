//! Three compose files as people write them.

mod keys;
mod scalars;

use super::*;

/// The manifests by service, and the notes as lines.
fn imported(text: &str) -> (Vec<(String, String)>, Vec<String>) {
    let files = |path: &str| match path {
        path if path.ends_with(".conf") => Found::File(path.to_owned()),
        path if path.contains("gone") => Found::Missing,
        _ => Found::Folder,
    };
    let done = import(text, &files).unwrap();
    let manifests = done.manifests.into_iter().map(|one| (one.service, one.text)).collect();
    let notes = done.notes.into_iter().map(|note| format!("{}: {} | {}", note.key, note.reason, note.hint));
    (manifests, notes.collect())
}

fn one(text: &str) -> (String, Vec<String>) {
    let (mut manifests, notes) = imported(text);
    assert_eq!(manifests.len(), 1, "{notes:?}");
    (manifests.remove(0).1, notes)
}

/// The notes about a key.
fn about<'n>(notes: &'n [String], key: &str) -> &'n str {
    notes
        .iter()
        .find(|note| note.starts_with(&format!("{key}: ")))
        .unwrap_or_else(|| panic!("{key}: {notes:#?}"))
}

#[test]
fn a_web_application_with_its_stores() {
    let text = r#"
version: "3.8"
x-logging: &logging
  logging: { driver: json-file }
services:
  web:
    <<: *logging
    build: .
    image: registry.example.com/shop/web:${TAG:-1.4}
    command: gunicorn shop.wsgi --bind 0.0.0.0:8000 --workers 4
    ports:
      - "8080:8000"
      - "127.0.0.1:9100:9100"
    environment:
      - DATABASE_URL=postgres://shop@db:5432/shop
      - CACHE_URL=redis://cache/0
      - LOG_LEVEL=${LOG_LEVEL:-info}
      - SECRET_KEY=${SECRET_KEY}
      - TERM
      - PATTERN=a$$b
    env_file: .env
    depends_on: [db, cache]
    volumes:
      - ./nginx.conf:/etc/app/nginx.conf:ro
      - ./static:/app/static
      - media:/app/media
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost:8000/health"]
      interval: 10s
      timeout: 3s
      retries: 5
      start_period: 40s
    restart: unless-stopped
    stop_grace_period: 45s
    networks: [front, back]
  db:
    image: postgres:16
    environment:
      POSTGRES_PASSWORD: 1234
      POSTGRES_DB: shop
    volumes:
      - pgdata:/var/lib/postgresql/data
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U postgres"]
      interval: 5s
    expose: ["5432"]
    shm_size: 256m
  cache:
    image: redis:7
    command: ["redis-server", "--save", "", "--appendonly", "no"]
    user: "999"
networks: { front: {}, back: {} }
volumes:
  pgdata:
  media: { driver: nfs }
"#;
    let (manifests, notes) = imported(text);
    let order: Vec<&str> = manifests.iter().map(|(service, _)| service.as_str()).collect();
    assert_eq!(order, ["cache", "db", "web"], "what others depend on comes first");
    insta::assert_snapshot!(manifests[2].1, @r#"
    service: web
    image: "registry.example.com/shop/web:1.4"
    args: [gunicorn, shop.wsgi, "--bind", "0.0.0.0:8000", "--workers", "4"]
    ports:
      http: { container: 8000, host: 8080 }
      port-9100: 9100
    env:
      CACHE_URL: "redis://cache/0"
      DATABASE_URL: "postgres://shop@db:5432/shop"
      LOG_LEVEL: info
      PATTERN: "a$b"
    files:
      /etc/app/nginx.conf: { from: "./nginx.conf" }
    volumes:
      media: { mount: /app/media }
      static: { host_path: /srv/web/static, mount: /app/static }
    health:
      readiness: { every: 10s, failures: 5, http: /health, port: http, timeout: 3s }
      startup: { every: 2s, failures: 25, http: /health, port: http }
    stop_timeout: 45s
    "#);
    insta::assert_snapshot!(manifests[1].1, @r#"
    service: db
    image: "postgres:16"
    ports:
      postgres: { container: 5432, protocol: tcp }
    env:
      POSTGRES_DB: shop
      POSTGRES_PASSWORD: "1234"
    volumes:
      pgdata: { mount: /var/lib/postgresql/data }
    health:
      readiness: { every: 5s, exec: [/bin/sh, "-c", "pg_isready -U postgres"], failures: 3 }
    shm_size: 256MiB
    "#);
    insta::assert_snapshot!(manifests[0].1, @r#"
    service: cache
    image: "redis:7"
    args: [redis-server, "--save", "", "--appendonly", "no"]
    security:
      user: "999"
    "#);
    insta::assert_snapshot!(notes.join("\n"), @r"
    networks: services do not find each other by sharing a network | `uses: [db]` calls another service by its name; clients come by `route`
    volumes.media.driver: a named volume is made by the agent on its host, empty | copy the data, or name a folder of the host: `host_path`
    services.cache.deploy.resources.limits: no limit is named, so an instance gets one core and 512MiB of memory at most | `resources: { cpu: 2, memory: 2GiB }`
    services.db.user: containers get no capability, not even as root: `chown`, `setuid` and ports below 1024 may fail | `security: { capabilities: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID] }` where an image starts as root and changes its user
    services.db.deploy.resources.limits: no limit is named, so an instance gets one core and 512MiB of memory at most | `resources: { cpu: 2, memory: 2GiB }`
    services.web.build: images are built elsewhere and come from a registry | docker build -t registry.example.com/shop/web:1.4 . && docker push registry.example.com/shop/web:1.4
    services.web.environment.DATABASE_URL: it seems to name the service `db` | `uses: [db]` calls its port that speaks HTTP by that name; for another protocol write an address
    services.web.environment.CACHE_URL: it seems to name the service `cache` | `uses: [cache]` calls its port that speaks HTTP by that name; for another protocol write an address
    services.web.environment.SECRET_KEY: `${SECRET_KEY}` has no default, and nothing replaces it | `--set env.SECRET_KEY=…`; a secret stands in a folder of the host
    services.web.environment.TERM: its value comes from the shell | `--set env.TERM=…`, or write it into `env`
    services.web.env_file: .env was not read: it may hold secrets | write plain values into `env`; secrets into a folder of the host
    services.web.user: containers get no capability, not even as root: `chown`, `setuid` and ports below 1024 may fail | `security: { capabilities: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID] }` where an image starts as root and changes its user
    services.web.depends_on: nothing waits for db, cache; the manifests come in that order | `checks: [{ tcp: db.internal:5432 }]` asks before the first start of a release
    services.web.ports.1: ports are published on the address of the host, not on 127.0.0.1 only: its fixed number is left away | other services reach it by `uses`, people by `route`; the agent draws a port, which the host's firewall can close
    services.web.ports: a fixed port of the host (8080) needs its host's leave | `host_ports = [8080]` in policy.toml of every host; or leave `host` away and use `route`
    services.web.volumes.1: `./static` lies beside the compose file; `/srv/web/static` stands for it | it must be there on every host, and `mounts` in its policy.toml must allow it
    services.web.deploy.resources.limits: no limit is named, so an instance gets one core and 512MiB of memory at most | `resources: { cpu: 2, memory: 2GiB }`
    services.web.logging: a manifest has no such key | `windlass logs` reads what the engine keeps; its driver is set on the host
    ");
}

#[test]
fn a_swarm_stack_with_limits_and_placement() {
    let text = r#"
services:
  API_Gateway:
    image: registry.example.com/gateway:2
    deploy:
      mode: replicated
      replicas: 3
      resources:
        limits: { cpus: "0.50", memory: 256M, pids: 100 }
        reservations: { cpus: "0.25", memory: 128M }
      update_config: { parallelism: 2, delay: 10s, order: start-first, failure_action: pause, monitor: 30s }
      restart_policy: { condition: on-failure }
      placement:
        constraints: ["node.labels.zone == east", "node.role == worker"]
        preferences: [{ spread: node.labels.rack }]
      endpoint_mode: dnsrr
    ports:
      - { target: 80, published: 80, protocol: tcp, mode: host }
      - { target: 53, published: 53, protocol: udp }
      - "7000-7002:7000-7002"
    configs: [{ source: site, target: /etc/site.conf }]
    secrets: [token]
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE]
    read_only: true
    tmpfs: ["/run", "/tmp:size=64m"]
    security_opt: ["no-new-privileges:true"]
    ulimits: { nofile: 65536 }
    extra_hosts: ["a:1.2.3.4"]
    labels: { traefik.enable: "true" }
  agent:
    image: registry.example.com/agent:1
    user: "0"
    deploy: { mode: global }
    privileged: true
    network_mode: host
    pid: host
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock:ro
      - { type: tmpfs, target: /scratch }
      - { type: volume, source: state, target: /state, read_only: true }
configs: { site: { file: ./site.conf } }
secrets: { token: { file: ./token } }
"#;
    let (manifests, notes) = imported(text);
    insta::assert_snapshot!(manifests[0].1, @r#"
    service: api-gateway
    image: "registry.example.com/gateway:2"
    replicas: 3
    placement:
      require: { zone: east }
    ports:
      http: { container: 80, host: 80 }
      port-7000: { container: 7000, host: 7000 }
      port-7001: { container: 7001, host: 7001 }
      port-7002: { container: 7002, host: 7002 }
    files:
      /etc/site.conf: { from: "./site.conf" }
    resources:
      cpu: 0.5
      memory: 256MiB
      pids: 100
    security:
      capabilities: [NET_BIND_SERVICE]
      read_only_root: true
      tmpfs: [/run, /tmp]
    strategy:
      rolling: { batch: 2, min_ready: 10s }
    soak: 30s
    labels:
      traefik.enable: "true"
    on_failure: pause
    ulimits:
      nofile: 65536
    "#);
    insta::assert_snapshot!(manifests[1].1, @r#"
    service: agent
    image: "registry.example.com/agent:1"
    per_host: true
    volumes:
      docker-sock: { host_path: /var/run/docker.sock, mount: /var/run/docker.sock, read_only: true }
      state: { mount: /state, read_only: true }
    security:
      tmpfs: [/scratch]
      user: "0"
    "#);
    insta::assert_snapshot!(notes.join("\n"), @r"
    secrets: sealed secrets come later | a folder of the host works: `volumes: { secrets: { mount: /run/secrets, host_path: /srv/secrets, read_only: true } }`
    services.API_Gateway: the service is called `api-gateway`: names have lowercase letters, digits and `-` | nothing to do
    services.API_Gateway.cap_add: the host's policy must allow each capability | `capabilities` in policy.toml
    services.API_Gateway.ports.1: ports are TCP; a UDP port is not published | run it beside Windlass, or behind a TCP port
    services.API_Gateway.ports: a fixed port of the host (80, 7000, 7001, 7002) needs its host's leave | `host_ports = [80, 7000, 7001, 7002]` in policy.toml of every host; or leave `host` away and use `route`
    services.API_Gateway.tmpfs: options of a scratch mount (`size=64m`) are not taken | `resources.memory` limits it
    services.API_Gateway.secrets: sealed secrets come later | a folder of the host works: `volumes: { secrets: { mount: /run/secrets, host_path: /srv/secrets, read_only: true } }`
    services.API_Gateway.deploy.resources.reservations.cpus: one value is limit and request; the limit is taken | lower it if the host is short
    services.API_Gateway.deploy.resources.reservations.memory: one value is limit and request; the limit is taken | lower it if the host is short
    services.API_Gateway.deploy.update_config.order: one container holds a fixed port of the host, so the old one stops first | leave `host` away and let clients come by `route`
    services.API_Gateway.deploy.placement.constraints: `node.role == worker` is not supported | `placement: { require: { role: app } }` asks for a label of the host
    services.API_Gateway.deploy.placement.preferences: instances are spread over hosts anyway | `placement: { spread: pack }` does the opposite
    services.API_Gateway.deploy.restart_policy.condition: `on-failure` is not carried over: what ends is started again, with growing pauses and without a last attempt | `rollback_on: { restarts: 1 }` says when that rolls a release back
    services.API_Gateway.deploy.endpoint_mode: there is no virtual address: `uses` and `route` find instances that are ready | remove the key
    services.API_Gateway.extra_hosts: a manifest has no such key | names are resolved by the host's DNS; give the address in `env`
    services.agent.volumes.0: `/var/run/docker.sock` is a folder of the host | it must be there on every host, and `mounts` in its policy.toml must allow it
    services.agent.deploy.resources.limits: no limit is named, so an instance gets one core and 512MiB of memory at most | `resources: { cpu: 2, memory: 2GiB }`
    services.agent.network_mode: a manifest has no such key | containers of a host share one network and publish their `ports`
    services.agent.pid: a manifest has no such key | a container shares neither processes nor memory with its host or with others; `shm_size` is the size of its own
    services.agent.privileged: a manifest has no such key | it is never given; `security: { capabilities: [NET_ADMIN] }` asks for one capability
    ");
}

#[test]
fn a_gpu_worker_with_older_keys() {
    let text = r#"
services:
  worker:
    image: registry.example.com/ml/worker:${TAG}
    entrypoint: /entry.sh --queue "high priority"
    working_dir: /app
    cpus: 2
    mem_limit: 4g
    pids_limit: 256
    init: false
    healthcheck: { disable: true }
    restart: "no"
    environment: { BATCH: 32, DEBUG: false, EMPTY: "", HOME_URL: "https://db.example.com/x" }
    volumes: [/cache, models:/models, models:/old]
    deploy:
      resources:
        reservations:
          devices: [{ driver: nvidia, count: 2, capabilities: [gpu] }]
  db: { image: "registry.example.com/db:1", scale: 2, user: app, links: [worker] }
"#;
    let (manifests, notes) = imported(text);
    insta::assert_snapshot!(manifests[1].1, @r#"
    service: worker
    image: "registry.example.com/ml/worker:${TAG}"
    command: [/entry.sh, "--queue", "high priority"]
    workdir: /app
    env:
      BATCH: "32"
      DEBUG: "false"
      EMPTY: ""
      HOME_URL: "https://db.example.com/x"
    volumes:
      cache: { mount: /cache }
      models: { mount: /models }
      models-2: { mount: /old }
    resources:
      cpu: 2
      gpus: 2
      memory: 4GiB
      pids: 256
    health:
      image: "off"
    init: false
    "#);
    assert!(manifests[0].1.contains("replicas: 2\n"), "{}", manifests[0].1);
    assert!(about(&notes, "services.worker.image").contains("--set image="), "{notes:?}");
    assert!(about(&notes, "services.worker.restart").contains("hooks"), "{notes:?}");
    assert!(about(&notes, "services.db.links").contains("`uses: [db]`"), "{notes:?}");
    assert!(!notes.iter().any(|note| note.contains("HOME_URL")), "a host name is not a service: {notes:?}");
}

#[test]
fn probes_become_requests_where_they_are_some() {
    let probe = |test: &str| {
        let text = format!(
            "services:\n  web:\n    image: a:1\n    user: app\n    ports: [8000]\n    healthcheck:\n      test: {test}\n"
        );
        let (manifest, _) = one(&text);
        let (_, readiness) = manifest.split_once("readiness:").unwrap_or_default();
        readiness.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    #[rustfmt::skip]
    let table = [
        (r#"["CMD", "curl", "-f", "http://localhost:8000/health"]"#, "http: /health, port: http"),
        (r#"["CMD-SHELL", "wget -q --spider http://127.0.0.1:8000 || exit 1"]"#, "http: /, port: http"),
        (r#""curl -fsS http://localhost:8000/a | grep ok""#, "exec: [/bin/sh, \"-c\", \"curl -fsS http://localhost:8000/a | grep ok\"]"),
        (r#"["CMD", "curl", "-f", "http://localhost:9/health"]"#, "exec: [curl, \"-f\", \"http://localhost:9/health\"]"),
        (r#"["CMD-SHELL", "curl -fk https://localhost:8000/h || exit 1"]"#, "http: /h port: http tls: { verify: \"off\" }"),
        (r#"["CMD", "curl", "-f", "https://localhost:8000/h"]"#, "http: /h port: http tls: { name: localhost }"),
        (r#"["CMD", "pg_isready", "-U", "x"]"#, "exec: [pg_isready, \"-U\", x]"),
    ];
    for (test, want) in table {
        let said = probe(test);
        assert!(said.contains(want), "{test}: {said}");
    }
}

#[test]
fn what_cannot_be_made_is_said() {
    let files = |_: &str| Found::Folder;
    assert!(matches!(import("a: [", &files), Err(ComposeError::Yaml(_))));
    assert!(matches!(import("version: '3'\n", &files), Err(ComposeError::NoServices)));
    assert!(matches!(import("services: {}\n", &files), Err(ComposeError::NoServices)));
    let (manifests, notes) =
        imported("services: { a: { image: 'not an image' }, b: { image: 'b:1', user: app } }");
    assert_eq!(manifests.len(), 1, "one that is wrong keeps none of the others");
    assert!(about(&notes, "services.a").contains("no manifest can be made: `image`"), "{notes:?}");
    let circle =
        "services: { a: { image: 'a:1', depends_on: [b] }, b: { image: 'b:1', depends_on: { a: {} } } }";
    assert_eq!(imported(circle).0.len(), 2, "a circle is cut");
    let bomb = (0..9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        format!("{text}a{}: &a{} [{}]\n", n + 1, n + 1, format!("*a{n}, ").repeat(9))
    });
    assert!(matches!(import(&bomb, &files), Err(ComposeError::Yaml(_))));
}

#[test]
fn one_bad_key_does_not_lose_a_service() {
    let text = r#"
services:
  web:
    image: registry.example.com/web:1
    user: app
    stop_signal: QUIT
    environment: { "spring.profiles.active": prod, "A B": x, MODE: fast }
    labels: { windlass.host: x, team: shop }
    ulimits: { nofiles: 5 }
    shm_size: 0
    working_dir: app
    deploy: { replicas: 5000 }
"#;
    let (manifest, notes) = one(text);
    insta::assert_snapshot!(manifest, @r#"
    service: web
    image: "registry.example.com/web:1"
    env:
      MODE: fast
      spring.profiles.active: prod
    security:
      user: app
    labels:
      team: shop
    stop_signal: SIGQUIT
    "#);
    assert!(
        about(&notes, "services.web.environment.A B")
            .contains("is not the name of a variable; it is left out")
    );
    for key in ["labels.windlass.host", "ulimits.nofiles", "working_dir", "replicas", "shm_size"] {
        assert!(about(&notes, &format!("services.web.{key}")).contains("left out"), "{key}: {notes:#?}");
    }
}

#[test]
fn a_service_that_fails_stands_first_and_by_name() {
    let text = "services: { web: { image: 'a:1' }, bad: { image: 'not an image' }, list: [1] }";
    let done = import(text, &|_: &str| Found::Folder).unwrap();
    assert_eq!(done.failed, ["bad", "list"]);
    assert_eq!(done.manifests.len(), 1);
    let first: Vec<&str> = done.notes.iter().take(2).map(|note| note.key.as_str()).collect();
    assert_eq!(first, ["services.bad", "services.list"]);
}

#[test]
fn folders_beside_the_compose_file_stay_different() {
    let text = "services: { app: { image: 'a:1', user: app, volumes: ['./data1:/d1', './data2:/d2', '~/c:/c', './x/data1:/d3', \
        './data1/:/again', '.:/code', './gone.txt:/t', '/etc/a.conf:/etc/a.conf'] } }";
    let (manifest, notes) = one(text);
    let paths: Vec<&str> =
        manifest.lines().filter_map(|line| line.split("host_path: ").nth(1)?.split(',').next()).collect();
    assert_eq!(
        paths,
        [
            "/etc/a.conf",
            "/srv/app/c",
            "/srv/app/code",
            "/srv/app/data1",
            "/srv/app/data1-2",
            "/srv/app/data1",
            "/srv/app/data2",
            "/srv/app/gone.txt"
        ],
        "{manifest}"
    );
    assert!(about(&notes, "services.app.volumes.6").contains("`./gone.txt` is not beside the compose file"));
    assert!(about(&notes, "services.app.volumes.7").contains("is a file of the host"));
}

#[test]
fn a_tag_without_a_default_stays_a_variable() {
    let (manifest, notes) = one("services: { web: { image: 'a/web:${TAG:?need}', user: app } }");
    assert!(manifest.contains("image: \"a/web:${TAG}\""), "{manifest}");
    assert!(about(&notes, "services.web.image").contains("--set image="));
    let probed = "services: { web: { image: 'a:1', user: app, healthcheck: { test: [CMD, x], start_interval: 1s, odd: 1 } } }";
    let (_, notes) = one(probed);
    assert!(about(&notes, "services.web.healthcheck.start_interval").contains("start_period"));
    assert!(about(&notes, "services.web.healthcheck.odd").contains("no such key"));
}

#[test]
fn what_is_not_carried_over_is_said_as_it_is() {
    let (_, notes) = one("services: { web: { image: 'a:1', user: app, depends_on: [db], configs: [site], \
         healthcheck: { test: [CMD, x], interval: 50ms } } }\nconfigs: { site: { environment: SITE } }");
    assert!(
        about(&notes, "services.web.depends_on").contains("there is no service db in the file"),
        "{notes:?}"
    );
    assert!(!about(&notes, "services.web.depends_on").contains("in that order"), "{notes:?}");
    assert!(
        about(&notes, "services.web.configs").contains("`site` is a variable of whoever runs compose"),
        "{notes:?}"
    );
    assert!(about(&notes, "services.web.healthcheck.interval").contains("ten times a second"), "{notes:?}");
}
