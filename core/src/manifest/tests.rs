use super::*;

fn try_load(text: &str) -> Result<Vec<Rendered>, Errors> {
    let sources = Sources {
        manifests: vec![Source { name: "web.yaml".into(), text: text.into() }],
        ..Sources::default()
    };
    load(&sources, &Environment::Default("default".parse().unwrap()))
}

#[test]
fn scratch() {
    println!("{}", serde_json::to_string_pretty(&schema()).unwrap());
    for text in [
        "service: web\nimage: nginx:1\n",
        "service: web\nimage: nginx:1\nreplica: 2\nstrategy: rolling\nsoak: 10\nenv: { A: 1.10, B: 007, C: yes, D: true, 3: x }\n",
        "service: web\nimage: nginx:1\nimage: b\n",
        "service: web\n  image: nginx:1\n",
        "service: web\nimage: [a\n",
        "service: web\nimage: nginx\nports: {http: 80, b: {container: 81, host: 81}, big: 70000, neg: -1}\nhealth: {readiness: {http: /x}}\non_failure: pouse\nplacement: {spread: hosts}\nreplicas: x\nresources: {gpus: {count: 1, memory: 6GB}, cpu: 0.25}\nfiles: { /x: {content: a, mode: 0600}}\n",
        "service: web\nimage: nginx\nports: {http: 80, b: {container: 81, host: 81}}\nhealth: {readiness: {http: /x}}\nreplicas: {min: 1, max: 3}\nresources: {gpus: {count: 1, memory: 6GB}, cpu: 0.25}\nfiles: { /x: {content: a, mode: 0600}}\nenv: { A: 1.10, B: 007, C: yes, D: true, 3: x }\n",
        "service: web\nimage: nginx\nuses: [a]\nsecrets: [A]\nexclusive: true\ngates: {}\nhooks: {before: []}\nstrategy: {canary: {steps: []}}\nroute: {host: a}\n",
        "job: x\nimage: y\n",
        "a: &a [1,2]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d]\n",
        "service: web\nimage: nginx:1\nenv: &e {A: 1}\n---\nservice: b\nimage: x:1\n---\n",
        "x: &e {A: 1}\nservice: b\nimage: x:1\nenv:\n  <<: *e\n  B: *e\n",
        "- a\n",
        "",
        "a",
        "service: web\n\timage: x\n",
    ] {
        println!("=====\n{text}-----");
        match try_load(text) {
            Ok(all) => {
                all.iter().for_each(|r| println!("{}\nwarnings {:?}", r.yaml(Origins::Shown), r.warnings))
            }
            Err(e) => println!("{e}"),
        }
    }
}
