import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.RejectedExecutionException;
import org.apache.catalina.Context;
import org.apache.catalina.LifecycleState;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/**
 * An embedded Tomcat with one connector, as a program would have it.
 *
 * <p>Arguments: the protocol, a folder for Tomcat, then {@code attribute=value} for the connector and {@code /path@folder}
 * for what it deploys. On stdin it takes {@code reload PATH}, {@code pause}, {@code resume}, {@code stop}, {@code start},
 * {@code restart} (of the connector alone) and {@code execute}, and says on stdout when that is done.
 */
public final class Embedded {
    public static void main(String[] arguments) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(arguments[1]);
        new File(arguments[1], "webapps").mkdirs();
        Connector connector = new Connector(arguments[0]);
        connector.setPort(0);
        connector.setProperty("address", "127.0.0.1");
        for (int at = 2; at < arguments.length; at++) {
            String argument = arguments[at];
            int place = argument.indexOf('@');
            if (argument.startsWith("/")) {
                Context context = tomcat.addWebapp(
                        argument.substring(0, place).replaceAll("/$", ""), argument.substring(place + 1));
                // Debian's examples have jars that are links.
                context.addLifecycleListener(event -> {
                    if (event.getType().equals("configure_start") && context.getResources() != null) {
                        context.getResources().setAllowLinking(true);
                    }
                });
            } else {
                int end = argument.indexOf('=');
                if (!connector.setProperty(argument.substring(0, end), argument.substring(end + 1))) {
                    System.err.println("no such attribute: " + argument);
                }
            }
        }
        tomcat.getService().addConnector(connector);
        tomcat.setConnector(connector);
        tomcat.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                tomcat.stop();
            } catch (Exception error) {
                error.printStackTrace();
            }
        }));
        System.err.println(
                "tidegate serves the tests on http://127.0.0.1:" + connector.getLocalPort() + "/ (Ctrl-C stops)");
        BufferedReader commands =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            obey(tomcat, connector, line.split(" "));
            System.out.println("done: " + line);
        }
        // The test has gone.
        System.exit(0);
    }

    private static void obey(Tomcat tomcat, Connector connector, String[] command) throws Exception {
        switch (command[0]) {
            case "reload" -> ((Context) tomcat.getHost().findChild(command[1])).reload();
            case "pause" -> connector.pause();
            case "resume" -> connector.resume();
            case "stop" -> tomcat.stop();
            case "start" -> {
                if (tomcat.getServer().getState() != LifecycleState.STARTED) {
                    tomcat.start();
                }
                System.out.println("port " + connector.getLocalPort());
            }
            case "restart" -> {
                connector.stop();
                connector.start();
            }
            case "execute" -> {
                try {
                    connector.getProtocolHandler().getExecutor().execute(() -> System.out.println("task executed"));
                } catch (RejectedExecutionException error) {
                    System.out.println("task rejected");
                }
            }
            default -> throw new IllegalArgumentException(command[0]);
        }
    }

    private Embedded() {}
}
